/* See assets.h. The assembler includes the bytes; CMake says where the files lie, and rebuilds when
 * one changes. tests/unit/test_web.sh holds this list against the folder. */
#include "server/assets.h"
#include <stdio.h>
#include <string.h>

#define JS "text/javascript; charset=utf-8"

/* clang-format off */
#define ASSETS(X)                                        \
    X(index,     "index.html",  "text/html; charset=utf-8") \
    X(style,     "style.css",   "text/css; charset=utf-8")  \
    X(icon,      "icon.svg",    "image/svg+xml")            \
    X(api,       "api.js",      JS)                         \
    X(app,       "app.js",      JS)                         \
    X(charts,    "charts.js",   JS)                         \
    X(contract,  "contract.js", JS)                         \
    X(dialogs,   "dialogs.js",  JS)                         \
    X(docs_page, "docs.html",   "text/html; charset=utf-8") \
    X(docs_look, "docs.css",    "text/css; charset=utf-8")  \
    X(docs,      "docs.js",     JS)                         \
    X(dom,       "dom.js",      JS)                         \
    X(fleet,     "fleet.js",    JS)                         \
    X(format,    "format.js",   JS)                         \
    X(live,      "live.js",     JS)                         \
    X(map,       "map.js",      JS)                         \
    X(overview,  "overview.js", JS)                         \
    X(releases,  "releases.js", JS)                         \
    X(rounds,    "rounds.js",   JS)                         \
    X(session,   "session.js",  JS)                         \
    X(settings,  "settings.js", JS)                         \
    X(tokens,    "tokens.js",   JS)                         \
    X(yaml,      "yaml.js",     JS)
/* clang-format on */

#define INCLUDE(symbol, file, type)                                                                \
    __asm__(".section .rodata\n"                                                                   \
            ".global asset_" #symbol "_begin\n"                                                    \
            ".global asset_" #symbol "_end\n"                                                      \
            "asset_" #symbol "_begin:\n"                                                           \
            ".incbin \"" CDCCA_WEB_DIR "/" file "\"\n"                                             \
            "asset_" #symbol "_end:\n"                                                             \
            ".byte 0\n"                                                                            \
            ".previous\n");                                                                        \
    extern const unsigned char asset_##symbol##_begin[], asset_##symbol##_end[];
ASSETS(INCLUDE)

#define ROW(symbol, file, type) {file, type, asset_##symbol##_begin, asset_##symbol##_end},
static const struct asset assets[] = {ASSETS(ROW)};

const struct asset *asset_find(const char *name)
{
    for (size_t i = 0; i < sizeof assets / sizeof *assets; i++)
        if (strcmp(assets[i].name, name) == 0)
            return &assets[i];
    return NULL;
}

void asset_etag(const unsigned char *data, size_t len, char etag[ASSET_ETAG])
{
    struct hash hash;
    char hex[HASH_HEX];
    hash_bytes(data, len, &hash);
    hash_hex(&hash, hex);
    snprintf(etag, ASSET_ETAG, "\"%s\"", hex);
}
