// Package egress is the hosts that a run is granted, as a forward proxy that HTTP clients
// know: CONNECT HOST:PORT, and TLS in it.
//
//	agent ──► session: which run, which hosts?          Config.Session
//	            │
//	          limits: at once, a minute, in all         limits.go
//	            │
//	          granted? ─► resolve ─► check each address ─► connect to one that was checked
//	            │                                       target.go, dial.go
//	          record that it begins                     Config.Begin
//	            │
//	          200 ─► read the ClientHello: is it that host?   hello.go
//	            │
//	          pass bytes on, count them                 tunnel.go
//	            │
//	          record how it ended                       Config.End
//
// An agent is a stranger, and so is whoever answers for a name. The agent resolves
// nothing: the proxy does, and connects to the very address that it checked, so that an
// answer which changes leads nowhere else. An address inside of the platform's networks is
// refused, whatever its notation.
//
// What is connected speaks TLS and says in the open whom it wants: the name of the
// ClientHello is the host that was asked for. No name, another one, and one that may be
// hidden (Encrypted Client Hello) end the connection before anything of it is passed on.
// What is said inside of TLS is between the agent and the host: a host that serves others,
// too, such as a content network, can be asked for them there.
//
// The proxy adds no credential and needs none of the agent's: the token of the pod goes no
// further. Limits are counted by each process for itself.
package egress
