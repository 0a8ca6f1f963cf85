// Package secrets encrypts what organizations entrust to the platform. What is stored is
// sealed for its place: a value that somebody moves to another row does not open there.
//
// The keys are a Tink keyset, in a file. The file is in the clear and protected like any
// other key of the platform, or wrapped by a key of a KMS that never leaves it. Keysets
// have several keys: what is written is sealed with the newest one, what is read is
// opened with the one that it was sealed with.
package secrets
