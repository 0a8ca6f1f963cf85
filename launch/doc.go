// Package launch takes requests to start a run, whoever makes them: the API, a
// schedule, a retry, a run that starts another one. It asks layer 1 who may and
// layer 2 what would run, and stores the run:
//
//	Start ─► idempotency key ─► agent ─► claim ─► version ─► right ─► policies ─► limits ─► input ─► CreateRun
//	                              └──────────────────────── Preview ─────────────────────────┘
//
// The checks spare a denied caller a run that would be rejected; those of the
// workflow decide. Telling the workflow engine of the run is left to the caller,
// and to the relay where he cannot.
package launch
