ARG NODE_VERSION=24

FROM node:${NODE_VERSION}-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The optional dependencies bring Node 24 to machines without it; here the base image does.
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:${NODE_VERSION}-bookworm-slim
LABEL org.opencontainers.image.title="Better Hub Gateway" \
      org.opencontainers.image.description="The gateway in front of HTTP services whose users sign in with GitHub" \
      org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    ADMIN_HOST=0.0.0.0 \
    ADMIN_PORT=9090 \
    DATA_DIR=/data
WORKDIR /app
# Only without DATABASE_URL: a volume mounted here gets this folder's owner.
RUN mkdir -m 700 /data && chown node:node /data
COPY --from=dependencies /app/node_modules node_modules
COPY package.json LICENSE ./
COPY config config
COPY src src
# The user "node", as a number: Kubernetes' runAsNonRoot cannot judge names.
USER 1000:1000
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Not /readyz: orchestrators replace what is unhealthy, and a store that is away is not healed by that.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.ADMIN_PORT}/livez`).then((answer) => process.exit(answer.ok ? 0 : 1))"]
CMD ["node", "src/main.ts", "start"]
