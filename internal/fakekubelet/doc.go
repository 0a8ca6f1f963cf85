// Package fakekubelet is nodes without computers, for measuring what does not depend on
// them: thousands of pods that are scheduled, run and end, and nothing is executed.
//
//	Pending ──scheduled here──► Running ──the process ended──► Succeeded
//	   └────────────────┴── deletion asked for ──► gone
//
// One watch for all nodes sees the pods; their states are written as a kubelet writes
// them, and a server hands out their logs. It knows nothing of the platform.
package fakekubelet
