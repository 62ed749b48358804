/* See store_maps.h. A finished round gains no uploads, so their number tells whether one is gone.
 */
#include "server/store_maps.h"
#include "server/store_parts.h"

struct map_query {
    map_visit *visit;
    void *ctx;
};

static bool map_emit(void *ctx, struct db_row *row)
{
    const struct map_query *query = ctx;
    return query->visit(query->ctx, db_row_text(row, 0));
}

enum status store_map(struct store *store, int64_t round, map_visit *visit, void *ctx,
                      struct err *err)
{
    struct map_query query = {visit, ctx};
    return store_select(store, err, map_emit, &query, "SELECT map FROM maps WHERE round=?", "i",
                        round);
}

enum status store_map_put(struct store *store, int64_t round, int64_t uploads, const char *json,
                          struct err *err)
{
    int64_t there = 0;
    TRY(db_int(store->writer, err, &there, "SELECT count(*) FROM uploads WHERE round=?", "i",
               round));
    if (there != uploads)
        return err_set(err, STATUS_CONFLICT,
                       "round %lld has %lld uploads, its map was made of %lld", (long long)round,
                       (long long)there, (long long)uploads);
    return db_change(store->writer, err, "INSERT OR REPLACE INTO maps(round,map) VALUES(?,?)", "is",
                     round, json);
}
