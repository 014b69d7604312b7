import type { ContainerConfig, HostConfig } from './container.ts';

/**
 * Configurations as Go writes them: an empty list or map that was never made is null, and fields
 * marked `omitempty` are left out when they are zero. Source: moby `api/types/container/config.go`
 * and `docker-image-spec`.
 */

type View = Partial<ContainerConfig>;

function orNull<T extends object>(value: T): T | null {
  return Object.keys(value).length === 0 ? null : value;
}

/** The fields of `source` that are not zero. */
function nonZero<T = View>(source: Readonly<Record<string, unknown>>): T {
  return Object.fromEntries(
    Object.entries(source).filter(([, value]) => {
      if (value === null || value === '' || value === false || value === 0) return false;
      return typeof value !== 'object' || Object.keys(value).length > 0;
    }),
  ) as T;
}

/** `Config` of a container, and of an image before v1.50. */
export function containerConfigView(config: ContainerConfig): View {
  const { ExposedPorts, Healthcheck, ArgsEscaped, NetworkDisabled, MacAddress } = config;
  return {
    Hostname: config.Hostname,
    Domainname: config.Domainname,
    User: config.User,
    AttachStdin: config.AttachStdin,
    AttachStdout: config.AttachStdout,
    AttachStderr: config.AttachStderr,
    ...nonZero({ ExposedPorts }),
    Tty: config.Tty,
    OpenStdin: config.OpenStdin,
    StdinOnce: config.StdinOnce,
    Env: config.Env,
    Cmd: config.Cmd,
    ...nonZero({ Healthcheck: config.Healthcheck === null ? null : nonZero(Healthcheck ?? {}) }),
    ...nonZero({ ArgsEscaped }),
    Image: config.Image,
    // The types say "never null"; Go says null, and so do we.
    Volumes: orNull(config.Volumes) as ContainerConfig['Volumes'],
    WorkingDir: config.WorkingDir,
    Entrypoint: config.Entrypoint,
    ...nonZero({ NetworkDisabled, MacAddress }),
    OnBuild: config.OnBuild,
    Labels: config.Labels,
    ...nonZero({ StopSignal: config.StopSignal }),
    ...(config.StopTimeout === null ? {} : { StopTimeout: config.StopTimeout }),
    ...nonZero({ Shell: config.Shell }),
  };
}

/** `Config` of an image from v1.50: what an image can say, and only what it says. */
export function imageConfigView(config: ContainerConfig): View {
  const { User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels, StopSignal } =
    config;
  const { ArgsEscaped, OnBuild, Shell } = config;
  const Healthcheck = config.Healthcheck === null ? null : nonZero(config.Healthcheck);
  return nonZero({
    ...{ User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels, StopSignal },
    ...{ ArgsEscaped, Healthcheck, OnBuild, Shell },
  });
}

/** `HostConfig` of a container: Go leaves these out when nobody asked for them. */
export function hostConfigView(hostConfig: HostConfig): Partial<HostConfig> {
  const { Annotations, ContainerIDEnv, Init, KernelMemory, KernelMemoryTCP, ...rest } = hostConfig;
  const { Mounts, StorageOpt, Sysctls, Tmpfs, ...always } = rest;
  return {
    ...always,
    ...(Init === null ? {} : { Init }),
    ...nonZero<Partial<HostConfig>>({
      ...{ Annotations, ContainerIDEnv, KernelMemory, KernelMemoryTCP },
      ...{ Mounts, StorageOpt, Sysctls, Tmpfs },
    }),
  };
}
