/* Requests that wait to be answered, oldest first; see serve_state.h. */
#include "client/serve_state.h"
#include <stdlib.h>
#include <time.h>

void serve_queue_init(struct serve_queue *queue)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void serve_job_free(struct serve_job *job)
{
    if (!job)
        return;
    chat_request_free(&job->chat);
    json_free(job->feedback);
    free(job);
}

void serve_queue_deinit(struct serve_queue *queue)
{
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
}

enum status serve_queue_push(struct serve_queue *queue, struct serve_job *job, struct err *err)
{
    pthread_mutex_lock(&queue->lock);
    bool closed = queue->closed, full = queue->count == SERVE_QUEUE;
    if (!closed && !full) {
        http_defer(job->request);
        job->next = NULL;
        if (queue->last)
            queue->last->next = job;
        else
            queue->first = job;
        queue->last = job;
        queue->count++;
        pthread_cond_signal(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    if (closed)
        return err_set(err, STATUS_BUSY, "the server is stopping");
    return full ? err_set(err, STATUS_BUSY, "%d requests wait already; try again", SERVE_QUEUE)
                : STATUS_OK;
}

struct serve_job *serve_queue_pop(struct serve_queue *queue, int64_t ms, bool *ended)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    pthread_mutex_lock(&queue->lock);
    if (!queue->first && !queue->closed)
        pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
    struct serve_job *job = queue->first;
    if (job) {
        queue->first = job->next;
        queue->last = queue->first ? queue->last : NULL;
        queue->count--;
    }
    *ended = !job && queue->closed;
    pthread_mutex_unlock(&queue->lock);
    return job;
}

void serve_queue_close(struct serve_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}
