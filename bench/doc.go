// Package bench measures what the documentation claims (docs/performance.md).
// Every number is a ratio to something that runs beside it on the same cluster:
// absolute times say more about the computer than about the platform.
//
//	make bench
package bench
