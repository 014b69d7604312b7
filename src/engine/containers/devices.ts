import path from 'node:path';
import { invalidArgument } from '../../base/errors.ts';
import { type DeviceNode, devicesBelow, findDevice } from '../../kernel/device-nodes.ts';
import { checkDeviceAccess, type GrantedDevice } from '../../policy/devices.ts';
import type { BlockDevice } from '../../policy/resources.ts';
import type { HostConfig } from '../../spec/docker/container.ts';

/** Devices of the host that a container gets: all for `--privileged`, else those of `--device`. */
export function grantedDevices(host: HostConfig): GrantedDevice[] {
  if (host.Privileged) {
    return devicesBelow('/dev').map((device) => ({ device, access: 'rwm' }));
  }
  return host.Devices.flatMap((mapping) => {
    const access = checkDeviceAccess(mapping.CgroupPermissions);
    const inside = mapping.PathInContainer || mapping.PathOnHost;
    return devicesAt(mapping.PathOnHost).map((device) => ({
      device: {
        ...device,
        path: path.posix.join(inside, path.posix.relative(mapping.PathOnHost, device.path)),
      },
      access,
    }));
  });
}

/** The device at a path, or all below it when it is a folder. @throws invalidArgument */
function devicesAt(host: string): DeviceNode[] {
  const found = findDevice(host);
  if (found !== undefined) return [{ ...found, path: host }];
  const below = devicesBelow(host);
  if (below.length > 0) return below;
  throw invalidArgument(
    `error gathering device information while adding custom device "${host}": no such file or directory`,
  );
}

/** Numbers of a block device for an I/O limit. @throws invalidArgument */
export function blockDeviceAt(file: string): BlockDevice {
  const found = findDevice(file);
  if (found?.type !== 'b') throw invalidArgument(`${file}: no such block device`);
  return { major: found.major, minor: found.minor };
}
