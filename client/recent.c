/* A ring of answers; see recent.h. */
#include "client/recent.h"
#include <stdlib.h>
#include <string.h>

struct recent {
    size_t floats; /* of one picture */
    int capacity, next;
    struct window_record *record; /* (capacity); id "": free */
    float *visual;                /* (capacity, tokens, width) */
};

enum status recent_create(int tokens, int width, struct recent **out, struct err *err)
{
    struct recent *recent = calloc(1, sizeof *recent);
    if (!recent)
        return err_set(err, STATUS_NO_MEMORY, "no memory for recent answers");
    recent->floats = (size_t)tokens * (size_t)width;
    size_t fit = RECENT_BYTES / (recent->floats * sizeof(float));
    recent->capacity = fit < RECENT_LEAST  ? RECENT_LEAST
                       : fit > RECENT_MOST ? RECENT_MOST
                                           : (int)fit;
    recent->record = calloc((size_t)recent->capacity, sizeof *recent->record);
    recent->visual = calloc((size_t)recent->capacity * recent->floats, sizeof(float));
    if (!recent->record || !recent->visual) {
        recent_destroy(recent);
        return err_set(err, STATUS_NO_MEMORY, "no memory for recent answers");
    }
    *out = recent;
    return STATUS_OK;
}

void recent_destroy(struct recent *recent)
{
    if (!recent)
        return;
    free(recent->record);
    free(recent->visual);
    free(recent);
}

int recent_capacity(const struct recent *recent)
{
    return recent->capacity;
}

float *recent_room(struct recent *recent)
{
    recent->record[recent->next].id[0] = '\0';
    return recent->visual + (size_t)recent->next * recent->floats;
}

void recent_add(struct recent *recent, const struct window_record *record)
{
    recent->record[recent->next] = *record;
    recent->next = (recent->next + 1) % recent->capacity;
}

const struct window_record *recent_find(const struct recent *recent, const char *id,
                                        const float **visual)
{
    for (int i = 0; i < recent->capacity; i++)
        if (strcmp(recent->record[i].id, id) == 0 && id[0]) {
            *visual = recent->visual + (size_t)i * recent->floats;
            return &recent->record[i];
        }
    return NULL;
}
