// Devcluster runs a real single-node Kubernetes cluster on a Linux machine that
// has root, Go and a few Debian packages, and neither Docker nor a registry.
//
// One binary is everything: the commands a person types (up, down, status,
// load, image, …), the supervisor, and the Kubernetes components themselves.
// Each component runs in a process of its own, because two Kubernetes commands
// constructed in one process panic (feature gates are process globals); the
// supervisor re-executes this binary with the component's name as first
// argument. containerd, its shim and ctr are separate binaries beside this one,
// runc and the CNI plugins come from Debian.
//
//	devcluster up ──starts──▶ devcluster supervise ──unix socket──▶ status, stop-component, down
//	                              │ starts, watches, restarts
//	      ┌────────────┬──────────┼───────────┬──────────────┬────────────┐
//	    etcd ◀── kube-apiserver ◀─┴─ kube-controller-manager │         containerd ──▶ shim ──▶ runc ──▶ pods
//	                   ▲─────────── kube-scheduler           │            ▲
//	                   └──────────────────────────────── kubelet ─────────┘ CRI
//
// A component's life, as the supervisor sees it (supervisor.go):
//
//	waiting ──dependencies ready──▶ starting ──ready check──▶ ready
//	   ▲                               ▲  │ exit                │ exit
//	   │                               │  ▼                     ▼
//	   │                            backoff ◀───────────────────┘
//	   │ hold over                                              │ stop-component
//	   └───────────────────────────── held ◀────────────────────┘
//	 any ──down──▶ stopped
//
// A cluster is its state folder (Layout in layout.go): etcd's data, the
// certificates and the images stay there across down and up, and across
// kill -9 of everything. What exists only while the cluster runs (sockets,
// netns, containerd's state) is in a short folder under /run named by the hash
// of the state folder's path, because a unix socket's path is at most 107 bytes.
//
// What up adds to the machine, and down removes:
//
//	processes        the supervisor, the components, containerd-shims, pods
//	address          NODE_IP/32 on lo, labelled lo:am-ID
//	firewall         chains AGENTMARKET-ID-IN and -FWD with their jumps
//	cgroup           /agentmarket-ID in every hierarchy
//	veth, netns      one pair per pod, made by the CNI plugin ptp
//	sysctls          those that kubelet and ptp change; put back when the
//	                 last cluster of the machine goes
//
// The node's address is the first one of the pod range and belongs to the
// cluster, not to a network card: it stays the same when a laptop changes
// networks, and two clusters on one machine have two.
//
// Isolation: every packet of a pod passes the host's INPUT or FORWARD chain
// (ptp), where the cluster's chains accept the gateway's port on the node's
// address and drop everything else, from the pod's first packet on. Pods have no
// IPv6.
package main
