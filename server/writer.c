/* See writer.h. */
#include "server/writer.h"
#include <pthread.h>
#include <stdlib.h>

/* As many as may wait in the service (main.c): one sync is for all of them. */
enum { WRITER_GROUP = 256 };

struct writer {
    struct store *store;
    int limit;
    pthread_t thread;
    struct write *group[WRITER_GROUP]; /* the thread's own, as jobs */
    struct store_job jobs[WRITER_GROUP];
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t wake;
    struct write *first, *last;
    int count;
    int64_t groups, writes;
    bool stopping;
};

/* Waits for work and takes a group; 0 when it is time to end. */
static size_t group_take(struct writer *writer)
{
    size_t n = 0;
    pthread_mutex_lock(&writer->lock);
    while (!writer->first && !writer->stopping)
        pthread_cond_wait(&writer->wake, &writer->lock);
    while (writer->first && n < WRITER_GROUP) {
        writer->group[n++] = writer->first;
        writer->first = writer->first->next;
        writer->count--;
    }
    writer->groups += n > 0;
    writer->writes += (int64_t)n;
    pthread_mutex_unlock(&writer->lock);
    return n;
}

static void group_commit(struct writer *writer, size_t n)
{
    for (size_t i = 0; i < n; i++)
        writer->jobs[i] = writer->group[i]->job;
    store_apply(writer->store, writer->jobs, n, NULL);
    for (size_t i = 0; i < n; i++) {
        struct write *write = writer->group[i];
        write->job = writer->jobs[i];
        write->done(write);
    }
}

static void *writer_main(void *arg)
{
    size_t n;
    while ((n = group_take(arg)) > 0)
        group_commit(arg, n);
    return NULL;
}

enum status writer_create(struct store *store, int limit, struct writer **out, struct err *err)
{
    struct writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return err_set(err, STATUS_NO_MEMORY, "out of memory");
    writer->store = store;
    writer->limit = limit;
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->wake, NULL);
    if (pthread_create(&writer->thread, NULL, writer_main, writer) != 0) {
        pthread_cond_destroy(&writer->wake);
        pthread_mutex_destroy(&writer->lock);
        free(writer);
        return err_set(err, STATUS_NO_MEMORY, "cannot start a thread");
    }
    *out = writer;
    return STATUS_OK;
}

enum status writer_submit(struct writer *writer, struct write *write, struct err *err)
{
    pthread_mutex_lock(&writer->lock);
    bool ok = !writer->stopping && writer->count < writer->limit;
    if (ok) {
        write->next = NULL;
        if (writer->first)
            writer->last->next = write;
        else
            writer->first = write;
        writer->last = write;
        writer->count++;
        pthread_cond_signal(&writer->wake);
    }
    pthread_mutex_unlock(&writer->lock);
    return ok ? STATUS_OK : err_set(err, STATUS_BUSY, "too many writes are waiting; try again");
}

void writer_destroy(struct writer *writer)
{
    if (!writer)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->stopping = true;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    pthread_cond_destroy(&writer->wake);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

struct writer_gauges writer_look(struct writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    struct writer_gauges now = {writer->count, writer->groups, writer->writes};
    pthread_mutex_unlock(&writer->lock);
    return now;
}
