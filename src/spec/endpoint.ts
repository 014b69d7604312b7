/** Socket of a daemon that was told nothing else, and where its clients look for it. */
export const DEFAULT_SOCKET = '/run/coracle.sock';

/** {@link DEFAULT_SOCKET} as `-H` and DOCKER_HOST write it. */
export const DEFAULT_HOST = `unix://${DEFAULT_SOCKET}`;
