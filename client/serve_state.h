/* The state of `cdcca-edge serve`, shared by its own files alone: serve.c (start and end),
 * serve_routes.c (what the polling threads do), serve_queue.c (requests that wait) and
 * serve_answer.c (the thread that generates). */
#ifndef CDCCA_SERVE_STATE_H
#define CDCCA_SERVE_STATE_H

#include "api/base/notify.h"
#include "api/http/http.h"
#include "client/agent_state.h"
#include "client/chat_reply.h"
#include "client/recent.h"
#include <stdatomic.h>

enum { SERVE_QUEUE = 64, SERVE_FEEDBACK_BYTES = 8 << 10, SERVE_WINDOW_AGE_S = 600 };

struct serve_job { /* one request that waits for the thread */
    struct http_request *request;
    struct chat_request chat;
    json *feedback; /* not NULL: a correction; holds the strings */
    const char *id, *correction;
    struct serve_job *next;
};

struct serve_queue {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct serve_job *first, *last;
    int count;
    bool closed; /* nothing more is taken */
};

struct serve {
    char name[64];         /* the model's, from its directory */
    int64_t made_s;        /* when that was written, since 1970 */
    int64_t window_age_s;  /* an open window is closed after so long */
    struct agent *agent;   /* NULL: a text model, which does not learn */
    struct mllm *text;     /* that model */
    struct pool *pool;     /* borrowed from the agent where there is one */
    struct recent *recent; /* the thread's alone, like the agent's window */
    int64_t window_opened_ms;
    struct serve_queue queue;
    struct http *http;
    struct notify notify; /* told as long as the thread gets on */
    pthread_t thread;
    bool started;           /* the thread runs */
    bool local;             /* loopback alone: requests must name it as their host */
    _Atomic int64_t end_ms; /* not 0: stopping; answers that last longer are cut off */
};

/* The model that answers now, retained, and its version. */
struct mllm *serve_acquire(struct serve *s, int64_t *version);
/* "student@3" */
void serve_model_id(const struct serve *s, int64_t version, char out[CHAT_MODEL]);

/* serve_queue.c. Jobs are heap objects; serve_job_free takes NULL. */
void serve_queue_init(struct serve_queue *queue);
void serve_queue_deinit(struct serve_queue *queue);
/* Defers the job's request and takes the job; BUSY, and nothing has changed, when too many wait. */
enum status serve_queue_push(struct serve_queue *queue, struct serve_job *job, struct err *err);
/* The oldest job; NULL after ms without one, or at once when the queue is closed and empty. */
struct serve_job *serve_queue_pop(struct serve_queue *queue, int64_t ms, bool *ended);
void serve_queue_close(struct serve_queue *queue);
void serve_job_free(struct serve_job *job);

/* serve_answer.c: the thread. */
void *serve_answer_run(void *ctx);

/* serve_routes.c */
extern const struct http_route serve_routes[];
/* An error as OpenAI's clients want it. */
void serve_reply_problem(struct http_request *request, const struct chat_problem *problem);

#endif
