/* A stream of samples to answer: "world:NAME" (the built-in world) or a directory of images with
 * questions.jsonl, one object a line: {"image": "a.png", "question": "...", "choices": [..]?,
 * "answer": "..."?, "id": "..."?}. Answers are only ever used for evaluation. */
#ifndef CDCCA_STREAM_H
#define CDCCA_STREAM_H

#include "api/base/io.h"
#include "model/task/image.h"
#include "model/task/world.h"

struct sample {
    char id[65];                      /* unique in the stream */
    uint8_t *pixels;                  /* (size,size,3), resized to the model's input; owned by the stream, valid until the next call */
    size_t source_bytes;              /* of the image file, or of the raw pixels */
    struct world_question question;   /* kind and new_concept are meaningful for the world alone */
    bool has_answer;
};

struct stream;
/* size: the model's input side. seed: for world streams. */
enum status stream_open(struct io *io, const char *spec, int size, uint64_t seed, struct stream **out,
                        struct err *err);
/* STATUS_NOT_FOUND at the end of a directory (it may grow: call again later). World never ends.
 * A bad line or image is an error for that sample alone; the next call goes on behind it. */
enum status stream_next(struct stream *stream, struct sample *out, struct err *err);
/* Continue at sample n (a restart goes on where it was). */
enum status stream_seek(struct stream *stream, uint64_t n, struct err *err);
uint64_t stream_position(const struct stream *stream);
void stream_close(struct stream *stream);

#endif
