/* stored_uploads DATA_DIR [bytes]: the SHA-256 of each upload's bytes as the store has them, one a
 * line; or the bytes themselves, one upload after another. Reads the database beside a running
 * service, as a backup does. */
#include "api/base/hash.h"
#include "server/db.h"
#include <stdio.h>
#include <string.h>

static bool hash_print(void *ctx, struct db_row *row)
{
    struct hash hash;
    char hex[HASH_HEX];
    size_t len;
    const void *data = db_row_bytes(row, 0, &len);
    (void)ctx;
    hash_bytes(data, len, &hash);
    hash_hex(&hash, hex);
    return puts(hex) >= 0;
}

static bool bytes_print(void *ctx, struct db_row *row)
{
    size_t len;
    const void *data = db_row_bytes(row, 0, &len);
    (void)ctx;
    return fwrite(data, 1, len, stdout) == len;
}

int main(int argc, char **argv)
{
    char path[4096];
    struct db *db;
    struct err err = {0};
    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "bytes") != 0))
        return fprintf(stderr, "usage: stored_uploads DATA_DIR [bytes]\n"), 2;
    snprintf(path, sizeof path, "%s/cloud.db", argv[1]);
    enum status status = db_open(path, false, &db, &err);
    if (status == STATUS_OK) {
        status = db_select(db, &err, argc == 3 ? bytes_print : hash_print, NULL,
                           "SELECT b.data FROM uploads u JOIN blobs b ON b.id=u.id", "");
        db_close(db);
    }
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        return 0;
    fprintf(stderr, "stored_uploads: %s\n", err.text);
    return 1;
}
