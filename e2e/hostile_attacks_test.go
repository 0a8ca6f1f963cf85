package e2e

import (
	"fmt"
	"strings"
)

const ok = "ok"

// attacksOn are the attacks, aimed. Those whose run ends with ok say in their result what
// they found.
func attacksOn(at targets) []*attack {
	var all []*attack
	all = append(all, onTheNetwork(at)...)
	all = append(all, onTheProxy(at)...)
	all = append(all, onTheGateway(at)...)
	all = append(all, onTheNode()...)
	return append(all, onTheRecord()...)
}

// onTheNetwork looks for ways out. Each has the gateway as its control: what says
// "closed" of everything else says "open" of that.
func onTheNetwork(at targets) []*attack {
	closed := func(does, agent, target, held string) *attack {
		return &attack{does: does, agent: agent, reason: ok, held: held, output: `{"gateway":"open","target":"closed"}`,
			script: fmt.Sprintf(`printf '{"gateway":"%%s","target":"%%s"}' $(open %s) $(open %s)`, at.gateway, target)}
	}
	const policy = "network policy, from the first packet"
	return []*attack{
		closed("connects to the API server at the node's address", "to-apiserver", at.apiServer, policy),
		closed("connects to the API server's Service", "to-service", at.service, policy),
		closed("connects to the kubelet", "to-kubelet", at.kubelet, policy),
		closed("connects to the metadata address of clouds", "to-metadata", "169.254.169.254 80", policy),
		closed("connects to the pod of another run", "to-neighbor", at.neighbor, policy),
		closed("connects to another port of the node", "to-host", at.host, policy),
		closed("connects to a public address", "to-internet", "192.0.2.1 443", policy),
		closed("connects over IPv6", "to-ipv6", "::1 22", "pods have no IPv6"),
		{does: "asks a name server, its own and a public one", agent: "asks-dns", reason: ok, held: "no resolver, and network policy",
			script: `printf '{"own":"%s","public":"%s"}' $(can timeout 5 nslookup example.com) $(can timeout 5 nslookup example.com 192.0.2.53)`,
			output: `{"own":"no","public":"no"}`},
		{does: "opens a raw socket", agent: "raw-socket", reason: ok, held: "no capabilities",
			script: `printf '{"ping":"%s"}' $(can ping -c 1 -W 1 127.0.0.1)`, output: `{"ping":"no"}`},
	}
}

// onTheProxy tries to get further than to the hosts of its plan. What begins with 200 is
// the control: the proxy does connect.
func onTheProxy(at targets) []*attack {
	via := func(does, agent, output, held string, tries ...string) *attack {
		return &attack{does: does, agent: agent, reason: ok, held: held, output: output, more: at.outside.granted(),
			script: at.connecting + "printf '['; " + strings.Join(tries, "; printf ,; ") + "; printf ']'"}
	}
	through := func(host, name string) string { return "through " + host + " " + name }
	const refused = `"403 7b2274"`
	return []*attack{
		via("connects through the proxy to a host that is not granted, and to another port of one that is", "proxy-elsewhere",
			"["+refused+","+refused+"]", "the plan's hosts", through(at.outside.other, "api"), through("api.example.com:22", "api")),
		via("goes where a redirect sends it: to addresses inside", "proxy-redirect", `["200 160303","422 7b2274","422 7b2274","422 7b2274"]`,
			"the proxy takes names only", through(at.outside.api, "api"), through("169.254.169.254:80", "api"),
			through("[::ffff:169.254.169.254]:80", "api"), through("0xa9fea9fe:80", "api")),
		via("is granted a name that leads to the metadata address", "proxy-inside", "["+refused+"]", "the proxy checks the address", through(at.outside.inside, "api")),
		via("the same over IPv6", "proxy-ipv6", "["+refused+"]", "the proxy checks the address", through(at.outside.six, "api")),
		via("lets a name lead elsewhere after the first connection (DNS rebinding)", "proxy-rebinding", `["200 160303",`+refused+`]`,
			"each address is checked, and connected to as it was checked", through(at.outside.changes, "changes"), through(at.outside.changes, "changes")),
		via("connects to one host and asks there for another one (SNI)", "proxy-sni", `["200 150303"]`,
			"the proxy reads whom the ClientHello names", through(at.outside.api, "changes")),
		via("speaks plain HTTP through the proxy", "proxy-plain", `[405]`, "only CONNECT, and TLS in it",
			`{ printf 'GET http://api.example.com/ HTTP/1.0\r\n\r\n'; sleep 1; } | nc -w 5 127.0.0.1 ${HTTPS_PROXY##*:} | sed -n '1s/^[^ ]* \([0-9]*\).*/\1/p' | tr -d '\n'`),
	}
}

// onTheGateway misuses what an agent may call.
func onTheGateway(at targets) []*attack {
	status := func(n int) string { return fmt.Sprintf("%d", n) }
	one := func(does, agent, call string, answer int, held string) *attack {
		return &attack{does: does, agent: agent, reason: ok, held: held, output: status(answer), script: call + ` | sed -n 1p`}
	}
	byThePage := func(a *attack) *attack {
		a.price = map[string]any{
			"model": "per_event", "max_per_run_micros": 50_000,
			"events": []map[string]any{{"name": "page", "title": "A page", "amount_micros": 10_000}},
		}
		return a
	}
	return []*attack{
		one("asks for another run", "asks-run", `call GET /v1/runs/`+at.otherRun, 404, "a run sees its children only"),
		one("takes an artifact of another run", "takes-artifact", `call GET /v1/runs/`+at.otherRun+`/artifacts/report.md`, 404, "the gateway has no such call"),
		one("reads its own artifacts back", "reads-artifact", `call GET /v1/artifacts/report.md`, 404, "artifacts are written only"),
		{does: "asks for secrets that nobody granted", agent: "asks-secrets", reason: ok, output: `"none"`, held: "the plan says which, and a run has one plan",
			script: `call GET /v1/secret-files | grep -q '"files":\[\]' && echo '"none"' || echo '"some"'`},
		{does: "shows the token of a run that has ended", agent: "old-token", reason: ok, output: "401", held: "tokens are those of pods that exist",
			script: `echo ` + at.otherToken + ` > /tmp/token; AGENT_TOKEN_FILE=/tmp/token; sleep 3; call GET /v1/input > /tmp/said; sed -n 1p /tmp/said | sed 's/409/401/'`},
		{does: "changes a letter of its token", agent: "forged-token", reason: ok, output: "401", held: "the cluster's signature",
			script: `sed 's/\.\(.\)\(.\)/.\2\1/' $AGENT_TOKEN_FILE > /tmp/token; AGENT_TOKEN_FILE=/tmp/token; call GET /v1/input | sed -n 1p`},
		byThePage(one("charges for an event that nobody named", "forged-charge", `call POST /v1/charges '{"event":"gold","count":1000000}' 'Idempotency-Key: k'`, 422, "the price of the plan")),
		byThePage(one("charges a negative number", "negative-charge", `call POST /v1/charges '{"event":"page","count":-5}' 'Idempotency-Key: k'`, 422, "bounds of every field")),
		one("tells of an event in the platform's name", "forged-event", `call POST /v1/events '{"events":[{"type":"ended","message":"ok"}]}'`, 422, "agents have event types of their own"),
		one("reports the end of another attempt", "forged-end", `call POST /v1/end '{"v":1,"run":"`+at.neighborRun+`","attempt":1,"outcome":"agent_no_result","exit_code":0,"started_at":"2026-01-01T00:00:00Z","finished_at":"2026-01-01T00:00:00Z","stdout_bytes":0,"stderr_bytes":0}'`, 403, "a report is about the pod's own attempt"),
		one("leaves an artifact with a path for its name", "path-artifact", `call PUT /v1/artifacts/..%2F..%2Foutput.json x`, 422, "names are no paths"),
		one("leaves an artifact in the place of the result", "result-artifact", `call PUT /v1/artifacts/.result x`, 422, "names are no paths"),
		one("sends a body that says it is smaller than it is, compressed", "bomb", `call PUT /v1/artifacts/bomb "$(printf '\037\213\010')" 'Content-Encoding: gzip'`, 200, "bodies are stored as they come, and never unpacked"),
		{does: "says that it has ended, and goes on", agent: "ends-early", reason: ok, output: `{"early":true}`, held: "its pod is removed, its calls are refused",
			script: `call POST /v1/end "{\"v\":1,\"run\":\"$AGENT_RUN_ID\",\"attempt\":1,\"outcome\":\"ok\",\"exit_code\":0,\"started_at\":\"2020-01-01T00:00:00Z\",\"finished_at\":\"2099-01-01T00:00:00Z\",\"stdout_bytes\":0,\"stderr_bytes\":0,\"result\":{\"early\":true},\"result_size\":14,\"result_sha256\":\"$(printf '{"early":true}' | sha256sum | cut -d' ' -f1)\"}" >&2; sleep 600`},
		{does: "calls without a pause", agent: "floods-gateway", reason: ok, output: `"limited"`, held: "calls a second of a run",
			script: `r=$(printf 'POST /v1/heartbeat HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %s\r\nContent-Length: 0\r\n\r\nx' "$(cat $AGENT_TOKEN_FILE)"); r=${r%x}
				for i in 1 2 3 4 5 6 7 8 9 10; do r="$r$r"; done
				{ printf '%s' "$r"; sleep 20; } | nc -w 20 ` + at.gateway + ` | grep -m 1 -q ' 429 ' && echo '"limited"' || echo '"free"'`},
		{does: "opens connections without end", agent: "floods-connections", reason: ok, output: `"bounded"`, held: "connections of a pod",
			script: `mkfifo /tmp/silence; exec 3<>/tmp/silence
				i=0; while [ $i -lt 200 ]; do nc ` + at.gateway + ` <&3 & i=$((i+1)); done
				sleep 1; n=$(grep -c ' 01 ' /proc/net/tcp); [ $n -gt 64 ] && [ $n -le 128 ] && echo '"bounded"' || echo "\"$n of $i\""`,
			more: map[string]any{"resources": map[string]any{"cpu_millis": 1000, "memory_mib": 256, "disk_mib": 16}}},
	}
}

// onTheNode tries to leave its container, or to use up what is there.
func onTheNode() []*attack {
	return []*attack{
		{does: "starts processes without end", agent: "fork-bomb", reason: "deadline_exceeded", held: "the pod's limit of processes; the supervisor ends them all",
			script: `bomb() { bomb | bomb & }; (bomb) & exec sleep 600`,
			more:   map[string]any{"resources": map[string]any{"cpu_millis": 100, "memory_mib": 256, "disk_mib": 16}, "timeouts": map[string]any{"run_seconds": 8, "grace_seconds": 1, "start_seconds": 120}}},
		{does: "uses memory without end", agent: "memory-flood", reason: "agent_oom", script: `tail /dev/zero`, held: "the pod's limit of memory"},
		{does: "fills its disk", agent: "disk-flood", reason: "agent_disk", held: "the pod's limit of disk",
			script: `head -c 200000000 /dev/zero > /tmp/flood; sleep 60`, more: map[string]any{"resources": map[string]any{"cpu_millis": 100, "memory_mib": 64, "disk_mib": 16}}},
		{does: "makes files without end", agent: "inode-flood", reason: ok, output: `"made"`, held: "its directory, gone with the pod",
			script: `i=0; while [ $i -lt 20000 ]; do : > /tmp/f$i; i=$((i+1)); done; echo '"made"'`},
		{does: "writes to every place of its image", agent: "writes-root", reason: ok, output: `{"etc":"no","bin":"no","input":"no","runtime":"no"}`, held: "read-only root",
			script: `printf '{"etc":"%s","bin":"%s","input":"%s","runtime":"%s"}' $(can touch /etc/x) $(can touch /bin/x) $(can touch /agentmarket/input/x) $(can touch /agentmarket/runtime/x)`},
		{does: "becomes root, mounts, makes a device", agent: "becomes-root", reason: ok, output: `{"su":"no","mount":"no","mknod":"no","chroot":"no"}`, held: "no capabilities, no new privileges, seccomp",
			script: `printf '{"su":"%s","mount":"%s","mknod":"%s","chroot":"%s"}' $(can su -c true) $(can mount -t tmpfs none /tmp) $(can mknod /tmp/d b 8 0) $(can chroot / true)`},
		{does: "makes a namespace of its own", agent: "unshares", reason: ok, output: `{"user":"no","pid":"no"}`, held: "seccomp",
			script: `printf '{"user":"%s","pid":"%s"}' $(can unshare -U true) $(can unshare -p true)`},
		{does: "reads the memory and the environment of the supervisor", agent: "reads-supervisor", reason: ok, output: `{"environ":"no","mem":"no","fd":"no"}`, held: "the supervisor cannot be traced",
			script: `printf '{"environ":"%s","mem":"%s","fd":"%s"}' $(can cat /proc/1/environ) $(can dd if=/proc/1/mem bs=1 count=1) $(can ls /proc/1/fd/)`},
		{does: "kills the supervisor", agent: "kills-supervisor", reason: ok, output: `"alive"`, held: "it is the first process, which the kernel keeps",
			script: `kill -KILL 1; kill -STOP 1; echo '"alive"'`},
		{does: "looks for secrets in its environment", agent: "looks-around", reason: ok, output: `"nothing"`, held: "there are none",
			script: `env | grep -iE 'secret|password|api_key|KUBERNETES_|amk_' >&2 && echo '"found"' || { [ -e /var/run/secrets/kubernetes.io ] && echo '"found"' || echo '"nothing"'; }`},
		{does: "leaves processes behind that do not end", agent: "leaves-orphans", reason: ok, output: `"left"`, held: "the supervisor ends what is left",
			script: `(setsid sh -c 'trap "" TERM HUP; while :; do sleep 1; done' &) ; echo '"left"'`},
		{does: "never ends, and ignores SIGTERM", agent: "never-ends", reason: "deadline_exceeded", held: "deadline, then SIGKILL",
			script: `trap '' TERM; while :; do sleep 1; done`, more: map[string]any{"timeouts": map[string]any{"run_seconds": 3, "grace_seconds": 1, "start_seconds": 120}}},
	}
}

// onTheRecord hands back what is none of a result.
func onTheRecord() []*attack {
	return []*attack{
		{does: "writes to its log without end", agent: "log-flood", reason: ok, output: `"done"`, held: "rotation on the node, a bound of what is kept",
			script: `head -c 30000000 /dev/zero | tr '\0' 'x' | fold -w 200; printf '"done"' > $AGENT_OUTPUT`},
		{does: "leaves a result of more than 1 MiB", agent: "large-result", reason: "agent_invalid_result", held: "bounds of every body",
			script: `{ printf '"'; head -c 1100000 /dev/zero | tr '\0' 'x'; printf '"'; } > $AGENT_OUTPUT`},
		{does: "leaves a result that is no JSON", agent: "no-json", reason: "agent_invalid_result", held: "strict decoding", script: `printf '{"a":' > $AGENT_OUTPUT`},
		{does: "leaves a link to its token as result", agent: "link-result", reason: "agent_invalid_result", held: "a result is a regular file",
			script: `ln -s $AGENT_TOKEN_FILE $AGENT_OUTPUT`},
		{does: "writes its own report for Kubernetes", agent: "forged-report", reason: ok, output: `"real"`, held: "the supervisor writes last, and its exit code counts",
			script: `printf '{"v":1,"outcome":"platform_error"}' > /dev/termination-log; echo '"real"'`},
		{does: "prints the frames of a result", agent: "forged-frames", reason: ok, output: `"real"`, held: "the byte that begins a frame is taken out",
			script: `printf '\036agentmarket-result 00000000000000000000000000000000 0 ImZha2Ui\n\036agentmarket-result end\n'; echo '"real"'`},
	}
}
