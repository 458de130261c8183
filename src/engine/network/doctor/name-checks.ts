// Whether the container gets names: its resolver is asked, as a program in the container would.

import { runInNetns } from '../../../kernel/netns.ts'
import { askName } from '../../../kernel/probe.ts'
import { redirectStands } from '../../../kernel/resolver/resolver.ts'
import { RESOLVER_ADDRESS } from '../../container/etc-files.ts'
import { bad, type EndpointScene, good, type Steps } from './diagnosis.ts'

const answerMs = 1500
const NXDOMAIN = 3

/**
 * Steps of a container that was given tsrun's resolver; none for others.
 * @param wanted a name that it should know; default: its own
 */
export function* checkNames(scene: EndpointScene, wanted?: string): Steps {
  const { endpoint, netnsFd, network, run } = scene
  if (!scene.asksResolver(endpoint.containerId)) return
  const name = wanted ?? endpoint.containerName
  const answer = runInNetns(netnsFd, () => askName(RESOLVER_ADDRESS, name, answerMs))
  const reset = `tsrun network reload ${network.name}`
  if (answer.kind === 'refused')
    return yield bad('names', `port 53 of ${RESOLVER_ADDRESS} leads to nobody in the container (${answer.code})`, reset)
  if (answer.kind === 'silence' && !redirectStands(netnsFd))
    return yield bad(
      'names',
      `of the rules that lead port 53 of ${RESOLVER_ADDRESS} to the resolver some are gone`,
      reset,
    )
  if (answer.kind === 'silence')
    return yield bad(
      'names',
      `${RESOLVER_ADDRESS} does not answer in the container: tsrun-dns hangs, or rules in the container keep it off`,
      `nsenter -t ${run.pid} -n nft list ruleset; pgrep -af tsrun-dns`,
    )
  if (!('records' in answer)) return
  // Of its own name only that there is an answer counts: on the default network nobody has a name.
  if (wanted === undefined || (answer.code === 0 && answer.records > 0))
    return yield good('names', `${RESOLVER_ADDRESS} answers`)
  if (answer.code === 0) return yield good('names', `${RESOLVER_ADDRESS} knows "${name}", without an IPv4 address`)
  yield bad(
    'names',
    answer.code === NXDOMAIN
      ? `${RESOLVER_ADDRESS} says that there is no "${name}": no container of its networks has the name, nor do the servers outside`
      : `${RESOLVER_ADDRESS} cannot find out about "${name}" (response code ${answer.code}): the host's servers do not answer`,
    answer.code === NXDOMAIN ? 'tsrun network graph' : 'cat /etc/resolv.conf',
  )
}
