/* /me: who the service takes the caller for, so that a page can offer what the caller may do. Where
 * no tokens are asked for, anyone is an operator without a name. */
#include "server/routes.h"
#include "server/shared.h"

enum status me_get(struct http_request *request, struct err *err)
{
    const struct http_caller *caller = &request->caller;
    bool known = caller->role != 0;
    json *out = json_object_new();
    if (out && json_set_string(out, "role", auth_role_name(known ? caller->role : ROLE_OPERATOR)) &&
        (!known || json_set_string(out, "name", caller->name)))
        return http_reply_json(request, 200, out, err);
    json_free(out);
    return err_set(err, STATUS_NO_MEMORY, "out of memory");
}
