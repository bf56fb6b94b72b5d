/**
 * Wrong input, as opposed to a fault of ours: a file, a name or a number that the user gave cannot be used. Any layer
 * may throw it; the message is one line that names the input and says what is wrong with it. The command prints that
 * line and exits with 2.
 */
export class InputError extends Error {
  override readonly name = 'InputError'
}
