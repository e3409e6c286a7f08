# The service as one image: the binary, root certificates, and nothing that could run but it. docs/operations.md says how to use it.

# Not the slim one: SQLite and the allocator are C.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package weeziq-server && mkdir /empty

# glibc, libgcc, certificates, a user without a name; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/weeziq /usr/local/bin/weeziq
COPY --from=build --chown=65532:65532 /empty /data
# A new volume takes its owner from what it covers.
COPY --from=build --chown=65532:65532 /empty /backups
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8787 DATA_DIR=/data
USER 65532:65532
VOLUME /data
EXPOSE 8787
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["/usr/local/bin/weeziq", "doctor", "--ready"]
ENTRYPOINT ["/usr/local/bin/weeziq"]
