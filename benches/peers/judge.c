/*
 * Judges recorded requests in process with libmodsecurity and the rules of a configuration, and values with libinjection, which
 * libmodsecurity has in it.
 *
 *     judge CONFIGURATION REQUESTS VALUES
 *
 * Both files hold a sequence of records: a length in four bytes, lowest first, and as many bytes. Prints "ready" when the rules
 * are there. Then every line of standard input is answered: "requests" and "values" by a line for each record, the
 * nanoseconds it took and 1 if it was blocked or recognised, 0 otherwise; followed by an empty line.
 */
#define _POSIX_C_SOURCE 200809L
#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Debian installs no header of libinjection. */
int libinjection_sqli(const char *text, size_t length, char fingerprint[]);
int libinjection_xss(const char *text, size_t length);

struct record {
    char *bytes;
    size_t length;
};

struct records {
    struct record *all;
    size_t count;
};

struct header {
    const char *name, *value;
    size_t name_length, value_length;
};

/* A request cut into what the library asks for. */
struct request {
    char method[32], *target, version[16];
    struct header headers[128];
    size_t header_count;
    const char *body;
    size_t body_length;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static struct records read_records(const char *path)
{
    struct records records = {NULL, 0};
    FILE *file = fopen(path, "rb");
    unsigned char size[4];
    if (!file)
        fail(path, "cannot be opened");
    while (fread(size, 1, 4, file) == 4) {
        struct record record;
        record.length = size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24;
        record.bytes = malloc(record.length + 1);
        if (!record.bytes || fread(record.bytes, 1, record.length, file) != record.length)
            fail(path, "ends inside a record");
        record.bytes[record.length] = 0;
        records.all = realloc(records.all, (records.count + 1) * sizeof(record));
        if (!records.all)
            fail(path, "does not fit into memory");
        records.all[records.count++] = record;
    }
    fclose(file);
    return records;
}

static const char *find(const char *from, const char *end, const char *what)
{
    size_t length = strlen(what);
    for (; from + length <= end; from++)
        if (memcmp(from, what, length) == 0)
            return from;
    return NULL;
}

/* Returns 0 for what has no request line. */
static int cut(const struct record *record, struct request *request)
{
    const char *at = record->bytes, *end = record->bytes + record->length;
    const char *line = find(at, end, "\r\n"), *space = find(at, end, " "), *last = NULL, *seek;
    if (!line || !space || space >= line)
        return 0;
    for (seek = space + 1; seek < line; seek++)
        if (*seek == ' ')
            last = seek;
    if (!last || (size_t)(space - at) >= sizeof(request->method))
        return 0;
    memcpy(request->method, at, (size_t)(space - at));
    request->method[space - at] = 0;
    request->target = strndup(space + 1, (size_t)(last - space - 1));
    snprintf(request->version, sizeof(request->version), "%.*s", (int)(line - last - 1), last + 1);
    memmove(request->version, request->version + (strncmp(request->version, "HTTP/", 5) ? 0 : 5), 4);
    request->header_count = 0;
    for (at = line + 2; (line = find(at, end, "\r\n")) && line != at; at = line + 2) {
        const char *colon = find(at, line, ":"), *value;
        struct header *header = &request->headers[request->header_count];
        if (!colon || request->header_count == 128)
            continue;
        for (value = colon + 1; value < line && (*value == ' ' || *value == '\t'); value++)
            ;
        *header = (struct header){at, value, (size_t)(colon - at), (size_t)(line - value)};
        request->header_count++;
    }
    request->body = line ? line + 2 : end;
    request->body_length = (size_t)(end - request->body);
    return 1;
}

static int is_blocked(Transaction *transaction)
{
    ModSecurityIntervention intervention = {200, 0, NULL, NULL, 0};
    int is_disruptive = msc_intervention(transaction, &intervention);
    free(intervention.log);
    free(intervention.url);
    return is_disruptive != 0;
}

static int judge(ModSecurity *library, RulesSet *rules, const struct request *request)
{
    Transaction *transaction = msc_new_transaction(library, rules, NULL);
    int blocked;
    size_t i;
    msc_process_connection(transaction, "10.71.0.2", 40000, "10.72.0.2", 80);
    msc_process_uri(transaction, request->target, request->method, request->version);
    for (i = 0; i < request->header_count; i++) {
        const struct header *header = &request->headers[i];
        msc_add_n_request_header(transaction, (const unsigned char *)header->name, header->name_length,
                                 (const unsigned char *)header->value, header->value_length);
    }
    msc_process_request_headers(transaction);
    blocked = is_blocked(transaction);
    if (!blocked) {
        if (request->body_length)
            msc_append_request_body(transaction, (const unsigned char *)request->body, request->body_length);
        msc_process_request_body(transaction);
        blocked = is_blocked(transaction);
    }
    msc_transaction_cleanup(transaction);
    return blocked;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void ignore(void *data, const void *message)
{
    (void)data;
    (void)message;
}

int main(int argc, char **argv)
{
    char line[32], fingerprint[16];
    const char *error = NULL;
    struct records requests, values;
    ModSecurity *library = msc_init();
    RulesSet *rules = msc_create_rules_set();
    size_t i;
    if (argc != 4)
        fail("usage", "judge CONFIGURATION REQUESTS VALUES");
    msc_set_log_cb(library, ignore);
    if (msc_rules_add_file(rules, argv[1], &error) < 0)
        fail(argv[1], error ? error : "is no configuration");
    requests = read_records(argv[2]);
    values = read_records(argv[3]);
    printf("ready %s\n", msc_who_am_i(library));
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        int is_requests = strncmp(line, "requests", 8) == 0;
        const struct records *records = is_requests ? &requests : &values;
        for (i = 0; i < records->count; i++) {
            const struct record *record = &records->all[i];
            uint64_t start;
            int blocked = 0;
            if (is_requests) {
                struct request request;
                if (!cut(record, &request))
                    fail(argv[2], "holds something that is no request");
                start = now();
                blocked = judge(library, rules, &request);
                start = now() - start;
                free(request.target);
            } else {
                start = now();
                blocked = libinjection_sqli(record->bytes, record->length, fingerprint)
                          || libinjection_xss(record->bytes, record->length);
                start = now() - start;
            }
            printf("%llu %d\n", (unsigned long long)start, blocked);
        }
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
