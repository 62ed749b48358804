/* make_bad_slot MODEL DATA: puts version 1 into the slots of DATA as if it had been applied, with
 * parameters that give no finite answer: what no self-test lets through, but the next one might. */
#include "api/base/rng.h"
#include "client/slots.h"
#include <stdio.h>
#include <stdlib.h>

/* Finite, but not what comes of them. */
static void make_wild(const struct trainable *set)
{
    struct rng rng;
    rng_init(&rng, 1, 1);
    for (int i = 0; i < set->count; i++)
        for (size_t j = 0; j < param_count(set->params[i]); j++)
            set->params[i]->data[j] += 1e30f * rng_normal(&rng);
}

static enum status slot_write(const char *model, const char *data, struct err *err)
{
    char slot[4096], state_path[4096];
    struct trainable_options options = trainable_defaults();
    struct trainable set = {0};
    struct slots_state state;
    struct slots *slots;
    struct hash hash;
    struct mllm *m;
    TRY(infer_load(model, &m, err));
    TRY(slots_open(io_posix(), data, m, true, &slots, err));
    slots_close(slots);
    TRY(infer_load(model, &m, err));
    TRY(trainable_attach(m, &options, &set, err));
    make_wild(&set);
    trainable_hash(&set, &hash);
    TRY(io_join(slot, sizeof slot, data, "slots/v1.safetensors", err));
    TRY(io_join(state_path, sizeof state_path, data, "state.json", err));
    TRY(trainable_save(io_posix(), &set, 1, slot, err));
    TRY(slots_state_load(io_posix(), state_path, &state, err));
    state.previous = state.active;
    state.previous_hash = state.hash;
    state.active = 1;
    state.hash = hash;
    state.patch = hash;
    trainable_free(&set);
    mllm_release(m);
    return slots_state_save(io_posix(), state_path, &state, err);
}

int main(int argc, char **argv)
{
    struct err err = {0};
    if (argc != 3)
        return fprintf(stderr, "usage: make_bad_slot MODEL DATA\n"), 2;
    if (slot_write(argv[1], argv[2], &err) != STATUS_OK)
        return fprintf(stderr, "make_bad_slot: %s\n", err.text), 1;
    return 0;
}
