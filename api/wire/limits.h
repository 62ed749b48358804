/* Every bound that the wire formats and the routes enforce, in one place. */
#ifndef CDCCA_LIMITS_H
#define CDCCA_LIMITS_H

enum {
    LIMIT_ID = 64,        /* device and instance ids: [A-Za-z0-9._-]{1,64} */
    LIMIT_QUESTION = 512, /* bytes of UTF-8 */
    LIMIT_ANSWER = 512,
    LIMIT_INSTANCES = 1024,   /* per upload */
    LIMIT_TOKENS = 4096,      /* visual tokens per instance */
    LIMIT_TOKEN_WIDTH = 4096, /* channels */
    LIMIT_UPLOAD_BYTES = 8 << 20,
    LIMIT_UPLOAD_RAW_BYTES = 32 << 20, /* after decompression */
    LIMIT_DISTILL_BYTES = 64 << 10,
    LIMIT_DELTA_BYTES = 256 << 20,
    LIMIT_DELTA_RAW_BYTES = 512 << 20,
    LIMIT_IMAGE_BYTES = 32 << 20,
    LIMIT_IMAGE_SIDE = 8192, /* pixels */
    LIMIT_IMAGE_PIXELS = 1 << 25,
    LIMIT_ENVELOPE_BYTES = 64 << 10, /* a signed manifest or key document */
    LIMIT_SIGNATURES = 8,            /* of an envelope */
    LIMIT_KEYS = 8,                  /* of a role */
    LIMIT_PAGE = 100,                /* items in a list answer */
    LIMIT_WAIT_S = 60,               /* long poll */
};

#endif
