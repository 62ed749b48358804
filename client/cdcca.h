/* libcdcca-edge: the agent of CD-CCA as a C library. A program asks a small multimodal model about
 * pictures; what the model is unsure about goes to a cdcca-cloud as a few quantized tokens; the
 * updates that come back are checked and applied between two answers. Two threads of the library
 * upload and update; no call waits for the network but cdcca_flush and cdcca_wait.
 *
 *   struct cdcca_options options = {.size = sizeof options, .data_dir = "state"};
 *   struct cdcca *device;
 *   if (cdcca_open(&options, &device, &error) != CDCCA_OK) ...
 *   cdcca_ask(device, &picture, "is the gate open?", &answer, &error);
 *
 * Every function that can fail returns a status, and with another one than CDCCA_OK fills *error
 * (which may be NULL) with a sentence: what was wrong and what would be right. Strings are UTF-8.
 * A struct cdcca may be used by several threads; calls take turns, one alone may close it. One data
 * directory serves one struct cdcca at a time, of all processes; what uploads hold is durable when
 * a window was closed. The library opens no port, handles no signal and writes to standard error
 * when something is badly wrong, no more. */
#ifndef CDCCA_CDCCA_H
#define CDCCA_CDCCA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CDCCA_API __attribute__((visibility("default")))

/* The values are pinned. */
enum cdcca_status {
    CDCCA_OK = 0,
    CDCCA_MALFORMED = 10,   /* bytes that cannot be parsed, or a value out of its range */
    CDCCA_SHAPE = 11,       /* sizes that do not match each other */
    CDCCA_UNSUPPORTED = 12, /* well formed, but not handled: neither PNG nor JPEG, say */
    CDCCA_TOO_LARGE = 13,
    CDCCA_NOT_FOUND = 14,
    CDCCA_CONFLICT = 15,   /* the data directory belongs to another model */
    CDCCA_USAGE = 16,      /* an argument that cannot be */
    CDCCA_CORRUPT = 20,    /* the weights give no numbers, and no version is left that does */
    CDCCA_WRONG_BASE = 21, /* what is stored is of another model */
    CDCCA_DIFFERS = 22,
    CDCCA_NO_MEMORY = 30,
    CDCCA_DISK_FULL = 31,
    CDCCA_BUSY = 32, /* the data directory is in use */
    CDCCA_UNREACHABLE = 40,
    CDCCA_TIMEOUT = 41, /* the time given was over first */
    CDCCA_PEER = 42,
    CDCCA_IO = 50,
    CDCCA_REFUSED = 60,
    CDCCA_CANCELLED = 61
};

struct cdcca_error {
    enum cdcca_status status;
    char text[512];
};

/* What is 0 or NULL has its default. */
struct cdcca_options {
    size_t size;           /* sizeof(struct cdcca_options), so that later versions may add to it */
    const char *model_dir; /* the model as shipped; default: the built-in student */
    const char *data_dir;  /* the state: versions, uploads that wait. Needed; made if need be */
    const char *cloud_url; /* http://host:port or https://host; default: nothing is sent or fetched,
                              uploads wait in the data directory */
    const char *device;    /* this device's name, [A-Za-z0-9._-]{1,64}; default: made up once */
    double budget;         /* share of the answers to upload, up to 1; default 0.1 */
    int window;            /* answers from which that share is drawn; default 100 */
    int threads;           /* that compute an answer; default: one per core */
};

/* A PNG or JPEG file's bytes (width and height 0), or pixels: width x height x 3 bytes, RGB, rows
 * from the top, without padding. */
struct cdcca_picture {
    const void *data;
    size_t len;
    int width, height;
};

struct cdcca_answer {
    char id[72];    /* for cdcca_correct */
    char text[520]; /* at most 512 bytes of UTF-8 */
    double entropy; /* nats, averaged over the generated tokens: how unsure the model was */
    int64_t version;
};

struct cdcca;

/* Loads the model, recovers the state, starts the threads. */
CDCCA_API enum cdcca_status cdcca_open(const struct cdcca_options *options, struct cdcca **out,
                                       struct cdcca_error *error);
/* Answers, and remembers the answer in the window; a full window, and one that has been open for
 * ten minutes, becomes uploads. The question: 1 to 512 bytes. */
CDCCA_API enum cdcca_status cdcca_ask(struct cdcca *device, const struct cdcca_picture *picture,
                                      const char *question, struct cdcca_answer *out,
                                      struct cdcca_error *error);
/* What would have been right, 1 to 512 bytes: uploaded with the answer's tokens, whatever the
 * budget; the model is taught this instead of what its teacher says. Durable when it returns.
 * NOT_FOUND: the answer was not given by this struct cdcca, or too many answers ago. */
CDCCA_API enum cdcca_status cdcca_correct(struct cdcca *device, const char *id, const char *text,
                                          struct cdcca_error *error);
/* The version that answers; 0 is the model as shipped. */
CDCCA_API int64_t cdcca_version(struct cdcca *device);
/* Waits until the version is above `version`. TIMEOUT after ms. */
CDCCA_API enum cdcca_status cdcca_wait(struct cdcca *device, int64_t version, int64_t ms,
                                       struct cdcca_error *error);
/* Closes the window and waits until the cloud has acknowledged what waits. TIMEOUT after ms: the
 * rest is kept and sent later. */
CDCCA_API enum cdcca_status cdcca_flush(struct cdcca *device, int64_t ms,
                                        struct cdcca_error *error);
/* Closes the window into the data directory, ends the threads. NULL is fine. */
CDCCA_API void cdcca_close(struct cdcca *device);
/* "0.1.0" */
CDCCA_API const char *cdcca_library_version(void);

#ifdef __cplusplus
}
#endif

#endif
