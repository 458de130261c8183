// What docker takes for a git repository, and tsrun does not fetch.

/** `git://..`, `git@host:..`, `https://host/x.git#branch:folder`, `github.com/..`. Pure. */
export function isGitAddress(text: string): boolean {
  return /^(git|ssh):\/\/|^[\w-]+@[\w.-]+:|^https?:\/\/[^?#]+\.git(#|$)|^github\.com\//i.test(text)
}
