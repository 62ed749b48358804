/* A stream of samples to answer. Its spec is one of
 *   "world:NAME"       the built-in world's domain NAME, one question per scene, without end;
 *   "world:NAME/KIND"  the same, questions of one kind alone ("world:target/caption");
 *   DIR                a directory of images with questions.jsonl, one object a line:
 *                      {"image": "a.png", "question": "...", "choices": [..]?, "answer": "..."?,
 *                      "id": "..."?}; other fields are ignored. The file may grow while it is read.
 * Answers are only ever used for evaluation. */
#ifndef CDCCA_STREAM_H
#define CDCCA_STREAM_H

#include "api/base/io.h"
#include "model/task/image.h"
#include "model/task/world.h"

struct sample {
    char id[65];         /* unique in the stream; of a line without one: its number */
    uint8_t *pixels;     /* (size,size,3), resized to the model's input; owned by the stream, valid
                            until the next call */
    size_t source_bytes; /* of the image file, or of the raw pixels */
    struct world_question question; /* of a directory: kind is KINDS, new_concept false */
    struct world_scene scene;       /* of the world; of a directory: without objects */
    bool has_answer;
};

struct stream;
/* size: the model's input side. seed: for world streams. */
enum status stream_open(struct io *io, const char *spec, int size, uint64_t seed,
                        struct stream **out, struct err *err);
/* STATUS_NOT_FOUND at the end of a directory (it may grow: call again later). World never ends.
 * A bad line or image is an error for that sample alone (never STATUS_NOT_FOUND: a missing image is
 * STATUS_MALFORMED); the position has moved on and the next call goes on behind it. A last line
 * without its newline is taken once it is a whole JSON object. */
enum status stream_next(struct stream *stream, struct sample *out, struct err *err);
/* Continue at sample n (a restart goes on where it was). STATUS_NOT_FOUND: fewer are there. */
enum status stream_seek(struct stream *stream, uint64_t n, struct err *err);
uint64_t stream_position(const struct stream *stream);
void stream_close(struct stream *stream);

#endif
