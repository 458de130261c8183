// Who we are to a registry.

export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A refresh token that the token service takes in place of a password. */
  | { readonly kind: 'identity'; readonly token: string }
