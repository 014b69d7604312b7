import { humanSize } from '../../base/bytes.ts';
import type { Volume } from '../../spec/docker/volume.ts';
import { labelText } from '../display.ts';
import type { RowShape } from '../format.ts';

/** Rows of `volume ls`. */
export const VOLUME_TABLE = '{{.Driver}}\\t{{.Name}}';

export const VOLUME_SHAPE: RowShape<Volume> = {
  typeName: '*formatter.volumeContext',
  fields: {
    Availability: { header: 'AVAILABILITY', value: () => 'N/A' },
    Driver: { header: 'DRIVER', value: (volume) => volume.Driver },
    Group: { header: 'GROUP', value: () => 'N/A' },
    Labels: { header: 'LABELS', value: (volume) => labelText(volume.Labels) },
    Links: {
      header: 'LINKS',
      value: ({ UsageData: usage }) => (usage === undefined ? 'N/A' : String(usage.RefCount)),
    },
    Mountpoint: { header: 'MOUNTPOINT', value: (volume) => volume.Mountpoint },
    Name: { header: 'VOLUME NAME', value: (volume) => volume.Name },
    Scope: { header: 'SCOPE', value: (volume) => volume.Scope },
    Size: {
      header: 'SIZE',
      value: ({ UsageData: usage }) => (usage === undefined ? 'N/A' : humanSize(usage.Size)),
    },
    Status: { header: 'STATUS', value: () => 'N/A' },
  },
  methods: { Label: (volume) => (name) => volume.Labels?.[String(name)] ?? '' },
};
