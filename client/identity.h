/* Who this device is: DATA/device, its name; DATA/token, what it shows to the cloud. Enrolment
 * turns a one-time code into a token. DATA/enroll-nonce is written before the first try and stays
 * until the token is stored, so that after a lost answer the same command with the same code gets a
 * token still: the cloud knows the device by its nonce. */
#ifndef CDCCA_IDENTITY_H
#define CDCCA_IDENTITY_H

#include "api/base/io.h"
#include "api/wire/limits.h"

/* wanted, or the stored name, or one made up and stored. STATUS_USAGE: wanted is no name. */
enum status identity_name(struct io *io, const char *data_dir, const char *wanted,
                          char out[LIMIT_ID + 1], struct err *err);

struct enroll_options {
    const char *cloud_url, *code, *data_dir;
    const char *device;  /* NULL: the stored name, or what the cloud says */
    const char *ca_file; /* NULL: the system's authorities */
};

/* Stores name, token and the root key of releases (DATA/root.pub) if the cloud has one and the
 * device none. name is the device's in the end. */
enum status identity_enroll(struct io *io, const struct enroll_options *options,
                            char name[LIMIT_ID + 1], struct err *err);

#endif
