# modelhub in one image; which service it runs is its argument.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ make zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package modelhub

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home --home-dir /var/lib/modelhub modelhub \
 && install --directory --owner modelhub --mode 700 /var/lib/modelhub/data
COPY --from=build /src/target/release/modelhub /usr/local/bin/modelhub
USER modelhub
WORKDIR /var/lib/modelhub
ENV MODELHUB_LISTEN=0.0.0.0:8080
EXPOSE 8080
ENTRYPOINT ["modelhub"]
CMD ["serve"]
