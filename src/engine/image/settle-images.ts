// Layers are not synced when they are unpacked (see layer-store.ts). Later, when nobody waits, one syncfs makes all of them last:
// after that a reboot does not cost a new unpacking.

import { closeSync, constants, openSync } from 'node:fs'
import { currentBoot } from '../../drivers/image/image-files.ts'
import { LayerStore } from '../../drivers/image/layer-store.ts'
import { lockStore } from '../../drivers/image/store-lock.ts'
import { syncfs } from '../../ffi/file-at.ts'
import type { ImageRecord, ImageStore } from './image-store.ts'

/** Makes sure that the layers of images which came more than `ageMs` ago are on the disk. Does nothing where they are. */
export async function settleImages(store: ImageStore, ageMs: number): Promise<void> {
  const isDue = (record: ImageRecord): boolean =>
    !record.isSettled && record.bootId === currentBoot() && Date.parse(record.storedAt) <= Date.now() - ageMs
  const due = store.records().filter(isDue)
  if (due.length === 0) return
  const fd = openSync(store.files.layers, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await syncfs(fd)
  } finally {
    closeSync(fd)
  }
  const layers = new LayerStore(store.files)
  const unlock = await lockStore(store.files.lock, 'shared')
  try {
    for (const record of due) {
      // Unless it was removed, or unpacked anew, meanwhile.
      const now = store.record(record.manifest.digest)
      if (now === undefined || now.storedAt !== record.storedAt || !store.isComplete(now)) continue
      for (const layer of record.layers) layers.settle(layer.chainId)
      store.setRecord({ ...now, isSettled: true }, true)
    }
  } finally {
    unlock()
  }
}
