# Builds the broker and ships it in a small image that needs no privilege and no writable root.
#
#   docker run -p 1883:1883 dunlin --listen 0.0.0.0:1883        open to everybody, for a first try
#   docker run -p 1883:1883 -v ./dunlin.toml:/etc/dunlin/dunlin.toml:ro dunlin
#   docker run -p 1883:1883 -e DUNLIN_LISTENER__PUBLIC__ADDRESS=0.0.0.0:1883 \
#              -e DUNLIN_LISTENER__PUBLIC__ANONYMOUS=true dunlin
#
# What survives a restart is in the volume /var/lib/dunlin: `-v dunlin-data:/var/lib/dunlin` names one
# that outlives the container.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build

# The dependencies first, with empty sources: this layer is built again only when they change. A
# benchmark that Cargo.toml names has to exist, though it is not built.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && sed -n '/^\[\[bench\]\]/,/^$/s/^name = "\(.*\)"/benches\/\1.rs/p' Cargo.toml \
        | xargs -r touch \
    && cargo build --release --locked --bin dunlin \
    && rm -r src

COPY src src
# Cargo goes by times, and the sources may be older than the empty ones were.
RUN touch src/lib.rs src/main.rs && cargo build --release --locked --bin dunlin

# Made here because the next stage has no reason to run anything as root: any user may write to it,
# also one that `docker run --user` makes up.
RUN install -d -m 1777 /data

FROM debian:bookworm-slim
COPY --from=build /build/target/release/dunlin /usr/local/bin/dunlin
COPY config/dunlin.toml /etc/dunlin/dunlin.toml
COPY --from=build /data /var/lib/dunlin

# A number, so that Kubernetes can see that it is not root (`runAsNonRoot`).
USER 65532:65532
ENV DUNLIN_DATA_DIR=/var/lib/dunlin
VOLUME /var/lib/dunlin
EXPOSE 1883

# SIGTERM is the default of `docker stop`; it is written down because the broker counts on it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/dunlin"]
# The file in the image is the documented one, all options at their defaults: it listens on loopback
# only, which in a container nobody reaches. That is what the image of Mosquitto 2 does without a
# file of yours, and it is the safe side: no broker is open to the network because somebody forgot
# something. Each of the three lines above opens it, and a file mounted over this one is picked up.
# Arguments after the image's name replace these two, the path of the file included.
CMD ["--config", "/etc/dunlin/dunlin.toml"]
