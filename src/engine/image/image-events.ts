// Events of images carry docker's words: the id (the name, for pull and push), the name, and the image's labels.

import type { Digest } from '../../model/image.ts'
import type { EventBus } from '../events.ts'
import { familiarName, familiarReference, parseReference } from './image-reference.ts'
import type { ImageStore } from './image-store.ts'

export type ImageAction = 'import' | 'load' | 'save' | 'tag' | 'untag' | 'delete'

/** Something happened to an image of the store. @param name what it is called; its id where it has no name */
export type TellImage = (action: ImageAction, id: Digest, name?: string) => void

/** Emits on `events`; without them nothing is told. */
export function tellImages(store: ImageStore, events: EventBus | undefined): TellImage {
  return (action, id, name = id) => {
    events?.emit({ type: 'image', action, id, name, attributes: action === 'delete' ? {} : labelsOf(store, id) })
  }
}

/** An image came from its registry, or went there. docker's id of that is the name with the tag. */
export function tellTransfer(events: EventBus | undefined, action: 'pull' | 'push', fullName: string): void {
  const reference = parseReference(fullName)
  events?.emit({ type: 'image', action, id: familiarReference(reference), name: familiarName(reference) })
}

function labelsOf(store: ImageStore, id: Digest): Readonly<Record<string, string>> {
  return store.find(id)?.record.config.config?.Labels ?? {}
}
