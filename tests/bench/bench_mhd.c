/* bench_mhd PORT FILE: libmicrohttpd by itself, set up as the service sets it up: a constant text
 * at any path, FILE at /deltas/1. What serve.sh puts beside the service, to tell what the library
 * costs from what we add. Ends with its stdin. */
#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char text[] = "{\n  \"status\": \"ok\",\n  \"program\": \"cdcca-cloud 0.1.0\"\n}\n";

static struct MHD_Response *response_make(const char *url, const char *file)
{
    struct stat about;
    if (strcmp(url, "/deltas/1") != 0)
        return MHD_create_response_from_buffer(strlen(text), (void *)(size_t)text,
                                               MHD_RESPMEM_PERSISTENT);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0)
        return NULL;
    return MHD_create_response_from_fd_at_offset64((uint64_t)about.st_size, fd, 0);
}

static enum MHD_Result answer(void *ctx, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **state)
{
    static int begun;
    (void)method, (void)version, (void)data, (void)size;
    if (!*state) {
        *state = &begun;
        return MHD_YES;
    }
    struct MHD_Response *response = response_make(url, ctx);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    enum MHD_Result result = MHD_queue_response(connection, 200, response);
    MHD_destroy_response(response);
    return result;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "usage: bench_mhd PORT FILE\n"), 2;
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, (uint16_t)atoi(argv[1]), NULL, NULL, answer, argv[2],
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)sysconf(_SC_NPROCESSORS_ONLN), MHD_OPTION_END);
    if (!daemon)
        return fprintf(stderr, "cannot listen on %s\n", argv[1]), 1;
    while (getchar() != EOF)
        ;
    MHD_stop_daemon(daemon);
    return 0;
}
