#ifndef CORACLE_SHIM_READ_H
#define CORACLE_SHIM_READ_H

/* `logs KEY=VALUE …`: writes a log to stdout; read.c tells the settings. Returns the exit code. */
int read_logs(int count, char **arguments);

#endif
