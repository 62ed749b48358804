/* notify_watch PROGRAM ARGUMENT...: runs the program as a supervisor would that speaks
 * sd_notify's protocol, and prints each datagram as a line, "EXIT n" at the end. A datagram socket
 * is not something that a shell can make. SIGTERM goes on to the program. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t child;

static void on_term(int signal_number)
{
    if (child > 0)
        kill((pid_t)child, signal_number);
}

static int socket_open(struct sockaddr_un *at)
{
    at->sun_family = AF_UNIX;
    snprintf(at->sun_path, sizeof at->sun_path, "/tmp/cdcca-supervisor-%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && bind(fd, (struct sockaddr *)at, sizeof *at) == 0 ? fd : -1;
}

static void datagrams_print(int fd)
{
    char text[512];
    ssize_t len;
    while ((len = recv(fd, text, sizeof text, MSG_DONTWAIT)) >= 0)
        printf("%.*s\n", (int)len, text);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct sockaddr_un at = {0};
    int fd = socket_open(&at), status = 0;
    if (argc < 2 || fd < 0)
        return fprintf(stderr, "usage: notify_watch PROGRAM ARGUMENT... (%s)\n", strerror(errno)),
               2;
    setenv("NOTIFY_SOCKET", at.sun_path, 1);
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a killed test leaves nothing behind */
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    child = (sig_atomic_t)pid;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        poll(&wait, 1, 100);
        datagrams_print(fd);
    }
    datagrams_print(fd);
    printf("EXIT %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    unlink(at.sun_path);
    return 0;
}
