/* How much one device, and one address without a token, may ask of the cloud. Who asks too much is
 * told after how many seconds to come again (429 with Retry-After). Counts live in memory; those of
 * a device's day begin with what the store has of it, so that a restart gives nothing away. */
#ifndef CDCCA_QUOTA_H
#define CDCCA_QUOTA_H

#include "api/http/http.h"
#include "server/store.h"

struct quota;

enum status quota_create(struct store *store, int64_t device_bytes_per_day, struct quota **out,
                         struct err *err);
void quota_destroy(struct quota *quota); /* NULL is fine */

/* All of these: STATUS_BUSY with the Retry-After that belongs to it, set on the request. */

/* One more call without a valid token. */
enum status quota_stranger(struct quota *quota, struct http_request *request, struct err *err);
/* One more guess at a code; one that was right is given back. */
enum status quota_guess(struct quota *quota, struct http_request *request, struct err *err);
void quota_guess_right(struct quota *quota, const struct http_request *request);
/* Would the device's next upload be taken? */
enum status quota_check(struct quota *quota, struct http_request *request, const char *device,
                        struct err *err);
/* An upload of so many bytes, as they are stored; what was not stored is given back. */
enum status quota_upload(struct quota *quota, struct http_request *request, const char *device,
                         int64_t bytes, struct err *err);
void quota_give_back(struct quota *quota, const char *device, int64_t bytes);

#endif
