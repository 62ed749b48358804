/* The door: may this caller call this route? Runs before the body is read. */
#ifndef CDCCA_AUTHORIZE_H
#define CDCCA_AUTHORIZE_H

#include "api/http/http.h"

/* 401 with a challenge for who is not known, 403 for who is and may not, 429 for who may but too
 * often. request->app is a struct cloud. */
http_authorize authorize;

#endif
