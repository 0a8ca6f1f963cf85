# The platform: one static program, its commands are the processes.
#
#	docker build -f deploy/images/platform.Dockerfile --build-arg VERSION=v0.1.0 -t agentmarket/platform:v0.1.0 .
FROM golang:1.26.8-bookworm AS build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/agentmarket ./cmd/agentmarket
# A folder for a blob store on a volume, which a new volume takes its mode from.
RUN mkdir -p /root-of-image/var/lib/agentmarket && chmod 1777 /root-of-image/var/lib/agentmarket

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /root-of-image/ /
COPY --from=build /out/agentmarket /agentmarket
USER 65532:65532
EXPOSE 3000
ENTRYPOINT ["/agentmarket"]
CMD ["help"]
