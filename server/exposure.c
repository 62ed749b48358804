/* See exposure.h. Behind a proxy a loopback address is as public as the proxy. */
#include "server/exposure.h"

enum status exposure_settle(struct exposure *exposure, const char *address, struct err *err)
{
    bool is_public = !exposure->loopback || exposure->proxied;
    if (!is_public || exposure->insecure)
        return STATUS_OK;
    if (!exposure->tls && !exposure->proxied)
        return err_set(err, STATUS_REFUSED,
                       "%s can be reached from other machines, and tokens and uploads would travel "
                       "unencrypted; right is --tls-cert FILE --tls-key FILE, or --behind-proxy "
                       "ADDRESS with the proxy that ends TLS, or --listen 127.0.0.1:PORT; "
                       "--insecure does without",
                       address);
    exposure->auth = true;
    return STATUS_OK;
}
