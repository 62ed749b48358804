/* preprocessor_config.json, read and written, and the arithmetic behind it (preprocess.h). Unknown
 * keys are passed over, as HF does: they name classes and versions. */
#include "model/mllm/preprocess.h"

#include "api/wire/json_out.h"
#include <math.h>
#include <string.h>

#define FILE_NAME "preprocessor_config.json"

enum { PREPROCESS_BYTES = 64 << 10, BICUBIC = 3, SIDE_MAX = 1 << 16 };

struct preprocess preprocess_defaults(void)
{
    return (struct preprocess){{0.48145466F, 0.4578275F, 0.40821073F},
                               {0.26862954F, 0.26130258F, 0.27577711F}};
}

/* A switch that must be `only`, or left out. */
static enum status only_bool(const json *root, const char *key, bool only, struct err *err)
{
    bool value = only;
    TRY(json_opt_bool(root, key, &value, err));
    if (value != only)
        return err_set(err, STATUS_UNSUPPORTED, "%s is %s; only %s is supported", key,
                       value ? "true" : "false", only ? "true" : "false");
    return STATUS_OK;
}

static enum status check_switches(const json *root, struct err *err)
{
    static const char *const on[] = {"do_resize", "do_rescale", "do_normalize"};
    static const char *const off[] = {"do_center_crop", "do_pad"};
    for (size_t i = 0; i < sizeof on / sizeof *on; i++)
        TRY(only_bool(root, on[i], true, err));
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        TRY(only_bool(root, off[i], false, err));
    return STATUS_OK;
}

static enum status check_type(const json *root, struct err *err)
{
    const char *type = "BlipImageProcessor";
    TRY(json_opt_string(root, "image_processor_type", 256, &type, err));
    if (strcmp(type, "BlipImageProcessor") != 0 && strcmp(type, "BlipImageProcessorFast") != 0)
        return err_set(err, STATUS_UNSUPPORTED,
                       "image_processor_type is \"%s\"; only BlipImageProcessor is supported",
                       type);
    return STATUS_OK;
}

/* A filter by Pillow's number, and the factor that makes 0..1 of bytes. */
static enum status check_arithmetic(const json *root, struct err *err)
{
    int64_t resample = BICUBIC;
    double factor = 1.0 / 255;
    TRY(json_opt_int(root, "resample", 0, 100, &resample, err));
    if (resample != BICUBIC)
        return err_set(err, STATUS_UNSUPPORTED, "resample is %d; only 3 (bicubic) is supported",
                       (int)resample);
    TRY(json_opt_number(root, "rescale_factor", 0, 1e9, &factor, err));
    if (fabs(factor * 255 - 1) > 1e-6)
        return err_set(err, STATUS_UNSUPPORTED,
                       "rescale_factor is %.10g; only 1/255 (0.00392156863) is supported", factor);
    return STATUS_OK;
}

static const json *field(const json *root, const char *key)
{
    const json *value = NULL;
    const char *at;
    for (void *cursor = NULL; (at = json_next(root, &cursor, &value)) != NULL;)
        if (strcmp(at, key) == 0)
            return value;
    return NULL;
}

/* {"height": N, "width": N}, or in older files N alone */
static enum status check_size(const json *root, int side, struct err *err)
{
    int64_t height = 384, width = 384;
    const json *size = field(root, "size");
    if (json_is_object(size)) {
        if (!json_has(size, "height") || !json_has(size, "width"))
            return err_set(err, STATUS_UNSUPPORTED,
                           "size must have height and width: other ways to resize are not "
                           "supported");
        TRY(json_get_int(size, "height", 1, SIDE_MAX, &height, err));
        TRY(json_get_int(size, "width", 1, SIDE_MAX, &width, err));
    } else if (size) {
        TRY(json_opt_int(root, "size", 1, SIDE_MAX, &height, err));
        width = height;
    }
    if (height != side || width != side)
        return err_set(err, STATUS_SHAPE, "size is %d x %d; the model's image_size is %d",
                       (int)height, (int)width, side);
    return STATUS_OK;
}

static enum status read_channels(const json *root, const char *key, double min, float out[3],
                                 struct err *err)
{
    const json *values;
    if (!json_has(root, key))
        return STATUS_OK;
    TRY(json_get_array(root, key, 3, &values, err));
    if (json_length(values) != 3)
        return err_set(err, STATUS_SHAPE, "%s has %zu values; red, green and blue are wanted", key,
                       json_length(values));
    for (size_t c = 0; c < 3; c++) {
        double value;
        if (json_number_at(values, c, &value, err) != STATUS_OK)
            return err_prefix(err, "%s", key);
        if (!(value >= min && value <= 1e6))
            return err_set(err, STATUS_MALFORMED, "%s holds %g; must be %g to 1e6", key, value,
                           min);
        out[c] = (float)value;
    }
    return STATUS_OK;
}

static enum status read_root(const json *root, int side, struct preprocess *p, struct err *err)
{
    if (!json_is_object(root))
        return err_set(err, STATUS_MALFORMED, "the text must be a JSON object");
    TRY(check_type(root, err));
    TRY(check_switches(root, err));
    TRY(check_arithmetic(root, err));
    TRY(check_size(root, side, err));
    TRY(read_channels(root, "image_mean", -1e6, p->mean, err));
    return read_channels(root, "image_std", 1e-6, p->deviation, err);
}

enum status preprocess_parse(const void *data, size_t len, int side, struct preprocess *out,
                             struct err *err)
{
    struct preprocess p = preprocess_defaults();
    struct err own = {0}; /* statuses travel through err_prefix, which needs one */
    json *root;
    if (len > PREPROCESS_BYTES)
        return err_set(err, STATUS_TOO_LARGE, "%zu bytes; the limit is %d", len, PREPROCESS_BYTES);
    TRY(json_parse(data, len, &root, err));
    enum status status = read_root(root, side, &p, err ? err : &own);
    json_free(root);
    if (status == STATUS_OK)
        *out = p;
    return status;
}

enum status preprocess_load(struct io *io, const char *dir, int side, struct preprocess *out,
                            struct err *err)
{
    char path[4096];
    struct buf file = {.max = PREPROCESS_BYTES};
    TRY(io_join(path, sizeof path, dir, FILE_NAME, err));
    if (!io_exists(path)) {
        *out = preprocess_defaults();
        return STATUS_OK;
    }
    enum status status = io_read_file(io, path, &file, err);
    if (status == STATUS_OK &&
        (status = preprocess_parse(file.data, file.len, side, out, err)) != STATUS_OK)
        err_prefix(err, "%s", path);
    buf_free(&file);
    return status;
}

static bool write_channels(json *root, const char *key, const float values[3])
{
    json *array = json_array_new();
    bool fine = array != NULL;
    for (int c = 0; fine && c < 3; c++)
        fine = json_append_number(array, (double)values[c]);
    return json_set_take(root, key, array) && fine;
}

static bool write_root(json *root, int side, const struct preprocess *p)
{
    json *size = json_object_new();
    bool fine = size && json_set_int(size, "height", side) && json_set_int(size, "width", side);
    return json_set_take(root, "size", size) && fine &&
           json_set_string(root, "image_processor_type", "BlipImageProcessor") &&
           json_set_bool(root, "do_convert_rgb", true) && json_set_bool(root, "do_resize", true) &&
           json_set_bool(root, "do_rescale", true) && json_set_bool(root, "do_normalize", true) &&
           json_set_int(root, "resample", BICUBIC) &&
           json_set_number(root, "rescale_factor", 1.0 / 255) &&
           write_channels(root, "image_mean", p->mean) &&
           write_channels(root, "image_std", p->deviation);
}

enum status preprocess_save(struct io *io, const char *dir, int side, const struct preprocess *p,
                            struct err *err)
{
    char path[4096];
    TRY(io_join(path, sizeof path, dir, FILE_NAME, err));
    json *root = json_object_new();
    return json_save(io, path, root, root && write_root(root, side, p), err);
}

void preprocess_pixels(const struct preprocess *p, const uint8_t *rgb, int size, float *out)
{
    size_t n = (size_t)size * (size_t)size;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            out[c * n + i] = ((float)rgb[3 * i + c] / 255.0F - p->mean[c]) / p->deviation[c];
}
