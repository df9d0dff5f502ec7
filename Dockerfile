# Needs BuildKit (Docker 23 or later, or DOCKER_BUILDKIT=1) for the cache mounts. How to run it: container/README.md.

# Debian 12 in both stages: the binary uses the C library of the machine that it is built on. This image has what the
# README asks for besides Rust: a C compiler, make and git.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# What is compiled stays in a cache that is no part of the image; the binary alone is taken out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked \
    && install -D target/release/cache-service /out/cache-service

FROM debian:bookworm-slim
COPY --from=build /out/cache-service /usr/local/bin/cache-service
# A number and no name, so that an orchestrator can see that it is not root.
USER 65532:65532
EXPOSE 8080
# The server drains on it, for SHUTDOWN_TIMEOUT_MS at most.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/cache-service", "healthcheck"]
ENTRYPOINT ["cache-service"]
CMD ["serve"]
