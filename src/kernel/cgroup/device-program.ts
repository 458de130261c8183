import type { DeviceRule } from '../../model/resources.ts'
export function attachDeviceProgram(_dir: string, _rules: readonly DeviceRule[]): void {}
