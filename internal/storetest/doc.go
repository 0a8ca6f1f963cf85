// Package storetest holds every implementation of the stores to the contract
// that the layers wrote down beside their types. It knows nothing of databases:
// what it checks is what callers may rely on.
//
// databases.go makes the real stores for tests of other packages.
package storetest
