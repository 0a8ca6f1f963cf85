# The supervisor, nothing else: pods of agents mount this image as a volume and
# run /agent-runtime from it. Push it and configure its digest, not its tag, as
# AGENTMARKET_RUNTIME_IMAGE.
#
#	docker build -f deploy/images/agent-runtime.Dockerfile -t agentmarket/agent-runtime:v0.1.0 .
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
COPY fault ./fault
COPY ids ./ids
COPY agentruntime ./agentruntime
COPY cmd/agent-runtime ./cmd/agent-runtime
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/agent-runtime ./cmd/agent-runtime

FROM scratch
COPY --from=build --chmod=0755 /out/agent-runtime /agent-runtime
USER 65532:65532
ENTRYPOINT ["/agent-runtime"]
