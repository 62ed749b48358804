/* SentencePiece's tokenizer.model: a protobuf (ModelProto), read without a protobuf library. The
 * parser owns nothing but the list of pieces: texts point into the file. Internal to model/mllm.
 *
 * Reference: sentencepiece_model.proto; protobuf.dev/programming-guides/encoding. */
#ifndef CDCCA_SENTENCEPIECE_H
#define CDCCA_SENTENCEPIECE_H

#include "api/base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sentencepiece_type { /* of a piece; the values are the format's */
                          SENTENCEPIECE_NORMAL = 1,
                          SENTENCEPIECE_UNKNOWN = 2,
                          SENTENCEPIECE_CONTROL = 3,
                          SENTENCEPIECE_USER_DEFINED = 4,
                          SENTENCEPIECE_UNUSED = 5,
                          SENTENCEPIECE_BYTE = 6,
};

enum sentencepiece_model { SENTENCEPIECE_UNIGRAM = 1, SENTENCEPIECE_BPE = 2 };

struct sentencepiece {
    struct sentencepiece_piece {
        const char *text; /* UTF-8, not NUL-terminated */
        size_t len;       /* 1..VOCAB_TOKEN_BYTES */
        float score;      /* finite */
        enum sentencepiece_type type;
    } * pieces; /* a piece's place is its id */
    int count;
    enum sentencepiece_model model;
    bool byte_fallback;
    /* normalizer_spec */
    const void *charsmap; /* NULL: none */
    size_t charsmap_len;
    bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
};

/* STATUS_MALFORMED for what is no such file, STATUS_UNSUPPORTED for what we do not handle (model
 * types word and char, unused pieces, a denormalizer, blanks as suffixes), STATUS_TOO_LARGE for
 * more than VOCAB_IDS pieces. `data` must outlive *out. */
enum status sentencepiece_parse(const void *data, size_t len, struct sentencepiece *out,
                                struct err *err);
void sentencepiece_free(struct sentencepiece *file);

#endif
