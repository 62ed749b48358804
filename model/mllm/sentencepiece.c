/* A pull parser for protobuf's wire format, and the fields of ModelProto that matter; see
 * sentencepiece.h. Fields that are not named here are skipped, as protobuf wants it. */
#include "model/mllm/sentencepiece.h"

#include "api/base/utf8.h"
#include "model/mllm/vocab.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the wire format ---- */

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct cursor {
    const unsigned char *at, *end;
};

struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value; /* varints and fixed numbers */
    struct cursor bytes;
};

static enum status read_varint(struct cursor *c, uint64_t *out, struct err *err)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (c->at == c->end)
            return err_set(err, STATUS_MALFORMED, "the file ends within a number");
        unsigned char byte = *c->at++;
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return STATUS_OK;
    }
    return err_set(err, STATUS_MALFORMED, "a number takes more than 10 bytes");
}

static enum status read_fixed(struct cursor *c, size_t size, uint64_t *out, struct err *err)
{
    *out = 0;
    if ((size_t)(c->end - c->at) < size)
        return err_set(err, STATUS_MALFORMED, "the file ends within a number");
    for (size_t i = 0; i < size; i++)
        *out |= (uint64_t)*c->at++ << 8 * i;
    return STATUS_OK;
}

static enum status read_bytes(struct cursor *c, struct cursor *out, struct err *err)
{
    uint64_t len = 0;
    TRY(read_varint(c, &len, err));
    if (len > (uint64_t)(c->end - c->at))
        return err_set(err, STATUS_MALFORMED, "a field of %llu bytes, and %zu are left",
                       (unsigned long long)len, (size_t)(c->end - c->at));
    *out = (struct cursor){c->at, c->at + len};
    c->at += len;
    return STATUS_OK;
}

static enum status read_field(struct cursor *c, struct field *out, struct err *err)
{
    uint64_t tag = 0;
    *out = (struct field){0};
    TRY(read_varint(c, &tag, err));
    if (tag >> 3 == 0 || tag >> 3 > (1U << 29) - 1)
        return err_set(err, STATUS_MALFORMED, "field number %llu", (unsigned long long)(tag >> 3));
    out->number = (uint32_t)(tag >> 3);
    switch (tag & 7) {
    case WIRE_VARINT:
        out->wire = WIRE_VARINT;
        return read_varint(c, &out->value, err);
    case WIRE_FIXED64:
        out->wire = WIRE_FIXED64;
        return read_fixed(c, 8, &out->value, err);
    case WIRE_FIXED32:
        out->wire = WIRE_FIXED32;
        return read_fixed(c, 4, &out->value, err);
    case WIRE_BYTES:
        out->wire = WIRE_BYTES;
        return read_bytes(c, &out->bytes, err);
    default:
        return err_set(err, STATUS_MALFORMED, "field %u has wire type %u (groups are not in use)",
                       out->number, (unsigned)(tag & 7));
    }
}

static enum status want_wire(const struct field *f, enum wire wire, const char *name,
                             struct err *err)
{
    if (f->wire == wire)
        return STATUS_OK;
    return err_set(err, STATUS_MALFORMED, "%s has wire type %d; it must be %d", name, (int)f->wire,
                   (int)wire);
}

static enum status get_bool(const struct field *f, const char *name, bool *out, struct err *err)
{
    TRY(want_wire(f, WIRE_VARINT, name, err));
    *out = f->value != 0;
    return STATUS_OK;
}

/* ---- pieces ---- */

static enum status parse_piece_field(const struct field *f, struct sentencepiece_piece *piece,
                                     struct err *err)
{
    uint32_t bits = (uint32_t)f->value;
    switch (f->number) {
    case 1:
        TRY(want_wire(f, WIRE_BYTES, "piece", err));
        piece->text = (const char *)f->bytes.at;
        piece->len = (size_t)(f->bytes.end - f->bytes.at);
        return STATUS_OK;
    case 2:
        TRY(want_wire(f, WIRE_FIXED32, "score", err));
        memcpy(&piece->score, &bits, sizeof piece->score);
        return STATUS_OK;
    case 3:
        TRY(want_wire(f, WIRE_VARINT, "type", err));
        if (f->value < SENTENCEPIECE_NORMAL || f->value > SENTENCEPIECE_BYTE)
            return err_set(err, STATUS_MALFORMED, "type %llu; types are 1..6",
                           (unsigned long long)f->value);
        piece->type = (enum sentencepiece_type)f->value;
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

static enum status parse_piece(struct cursor c, struct sentencepiece_piece *piece, struct err *err)
{
    struct field f;
    *piece = (struct sentencepiece_piece){.text = "", .type = SENTENCEPIECE_NORMAL};
    while (c.at < c.end) {
        TRY(read_field(&c, &f, err));
        TRY(parse_piece_field(&f, piece, err));
    }
    if (piece->len == 0 || piece->len > VOCAB_TOKEN_BYTES)
        return err_set(err, STATUS_MALFORMED, "%zu bytes of text; 1..%d are possible", piece->len,
                       VOCAB_TOKEN_BYTES);
    if (!utf8_valid(piece->text, piece->len))
        return err_set(err, STATUS_MALFORMED, "its text is not UTF-8");
    if (!isfinite(piece->score))
        return err_set(err, STATUS_MALFORMED, "its score is not finite");
    if (piece->type == SENTENCEPIECE_UNUSED)
        return err_set(err, STATUS_UNSUPPORTED, "it is of type unused, which is not supported");
    return STATUS_OK;
}

static enum status add_piece(struct sentencepiece *file, struct cursor bytes, int *cap,
                             struct err *err)
{
    if (file->count == VOCAB_IDS)
        return err_set(err, STATUS_TOO_LARGE, "more than %d pieces", VOCAB_IDS);
    if (file->count == *cap) {
        int more = *cap ? 2 * *cap : 1024;
        void *moved = realloc(file->pieces, (size_t)more * sizeof *file->pieces);
        if (!moved)
            return err_set(err, STATUS_NO_MEMORY, "no memory for %d pieces", more);
        file->pieces = moved;
        *cap = more;
    }
    enum status status = parse_piece(bytes, &file->pieces[file->count], err);
    if (status != STATUS_OK)
        err_prefix(err, "piece %d", file->count);
    file->count += status == STATUS_OK;
    return status;
}

/* ---- the specs ---- */

static enum status parse_trainer(struct cursor c, struct sentencepiece *file, struct err *err)
{
    struct field f;
    bool suffix = false;
    while (c.at < c.end) {
        TRY(read_field(&c, &f, err));
        if (f.number == 3) {
            TRY(want_wire(&f, WIRE_VARINT, "model_type", err));
            if (f.value != SENTENCEPIECE_UNIGRAM && f.value != SENTENCEPIECE_BPE)
                return err_set(err, STATUS_UNSUPPORTED,
                               "model_type %llu; 1 (unigram) and 2 (bpe) are supported",
                               (unsigned long long)f.value);
            file->model = (enum sentencepiece_model)f.value;
        } else if (f.number == 24) {
            TRY(get_bool(&f, "treat_whitespace_as_suffix", &suffix, err));
        } else if (f.number == 35) {
            TRY(get_bool(&f, "byte_fallback", &file->byte_fallback, err));
        }
    }
    if (suffix)
        return err_set(err, STATUS_UNSUPPORTED, "treat_whitespace_as_suffix is not supported");
    return STATUS_OK;
}

static enum status parse_normalizer(struct cursor c, struct sentencepiece *file, struct err *err)
{
    struct field f;
    while (c.at < c.end) {
        TRY(read_field(&c, &f, err));
        if (f.number == 2) {
            TRY(want_wire(&f, WIRE_BYTES, "precompiled_charsmap", err));
            file->charsmap_len = (size_t)(f.bytes.end - f.bytes.at);
            file->charsmap = file->charsmap_len ? f.bytes.at : NULL;
        } else if (f.number == 3) {
            TRY(get_bool(&f, "add_dummy_prefix", &file->add_dummy_prefix, err));
        } else if (f.number == 4) {
            TRY(get_bool(&f, "remove_extra_whitespaces", &file->remove_extra_whitespaces, err));
        } else if (f.number == 5) {
            TRY(get_bool(&f, "escape_whitespaces", &file->escape_whitespaces, err));
        }
    }
    return STATUS_OK;
}

static enum status check_denormalizer(struct cursor c, struct err *err)
{
    struct field f;
    while (c.at < c.end) {
        TRY(read_field(&c, &f, err));
        if (f.number == 2 && f.bytes.at < f.bytes.end)
            return err_set(err, STATUS_UNSUPPORTED, "denormalizer_spec is not supported");
    }
    return STATUS_OK;
}

static enum status parse_model(struct cursor c, struct sentencepiece *file, struct err *err)
{
    int cap = 0;
    struct field f;
    while (c.at < c.end) {
        TRY(read_field(&c, &f, err));
        if (f.number == 0 || f.number > 5 || f.number == 4)
            continue;
        TRY(want_wire(&f, WIRE_BYTES, "a part of the model", err));
        if (f.number == 1)
            TRY(add_piece(file, f.bytes, &cap, err));
        else if (f.number == 2)
            TRY(parse_trainer(f.bytes, file, err));
        else if (f.number == 3)
            TRY(parse_normalizer(f.bytes, file, err));
        else
            TRY(check_denormalizer(f.bytes, err));
    }
    return file->count > 0 ? STATUS_OK : err_set(err, STATUS_MALFORMED, "it holds no pieces");
}

enum status sentencepiece_parse(const void *data, size_t len, struct sentencepiece *out,
                                struct err *err)
{
    const unsigned char *bytes = data;
    *out = (struct sentencepiece){.model = SENTENCEPIECE_UNIGRAM,
                                  .add_dummy_prefix = true,
                                  .remove_extra_whitespaces = true,
                                  .escape_whitespaces = true};
    enum status status = parse_model((struct cursor){bytes, bytes + len}, out, err);
    if (status != STATUS_OK)
        sentencepiece_free(out);
    return status;
}

void sentencepiece_free(struct sentencepiece *file)
{
    free(file->pieces);
    file->pieces = NULL;
    file->count = 0;
}
