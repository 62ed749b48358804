/* ask MODEL_DIR DATA_DIR [CLOUD_URL]: answers what comes in on standard input, a line each:
 *   photo.png is there a circle?      a file and a question: prints the answer
 *   = no                              what would have been right for the last one
 * At the end, what the model was unsure about goes to the cloud, if there is one.
 *
 *   cc ask.c $(pkg-config --cflags --libs cdcca-edge) -o ask */
#include <cdcca/cdcca.h>
#include <stdio.h>
#include <string.h>

static char file[16 << 20];

static int picture_load(const char *path, struct cdcca_picture *picture)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        return perror(path), 0;
    *picture = (struct cdcca_picture){.data = file, .len = fread(file, 1, sizeof file, in)};
    fclose(in);
    return 1;
}

static int complain(const struct cdcca_error *error)
{
    return fprintf(stderr, "ask: %s\n", error->text), 1;
}

static void line_take(struct cdcca *device, char *line, struct cdcca_answer *answer)
{
    struct cdcca_error error;
    struct cdcca_picture picture;
    char *rest = strchr(line, ' ');
    if (!rest)
        return;
    *rest++ = '\0';
    if (strcmp(line, "=") == 0) {
        if (cdcca_correct(device, answer->id, rest, &error) != CDCCA_OK)
            complain(&error);
    } else if (picture_load(line, &picture)) {
        if (cdcca_ask(device, &picture, rest, answer, &error) != CDCCA_OK)
            complain(&error);
        else
            printf("%s (version %lld, entropy %.3f)\n", answer->text, (long long)answer->version,
                   answer->entropy);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    struct cdcca *device;
    struct cdcca_error error;
    struct cdcca_answer answer = {.id = "none"};
    char line[1024];
    if (argc < 3)
        return fprintf(stderr, "usage: ask MODEL_DIR DATA_DIR [CLOUD_URL]\n"), 2;
    struct cdcca_options options = {.size = sizeof options,
                                    .model_dir = argv[1],
                                    .data_dir = argv[2],
                                    .cloud_url = argc > 3 ? argv[3] : NULL};
    if (cdcca_open(&options, &device, &error) != CDCCA_OK)
        return complain(&error);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        line_take(device, line, &answer);
    }
    if (options.cloud_url && cdcca_flush(device, 10000, &error) != CDCCA_OK)
        complain(&error);
    cdcca_close(device);
    return 0;
}
