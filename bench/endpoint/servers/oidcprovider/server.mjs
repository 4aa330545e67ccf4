// A token endpoint of oidc-provider: ES256 access tokens in JWT form, its own store in memory, its default policy of
// rotating refresh tokens. It gives no refresh token for client_credentials, so the first ones are made in its store.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import Provider from 'oidc-provider';

const { values } = parseArgs({ options: { seats: { type: 'string', default: '1' } } });
const secret = randomBytes(32).toString('base64url');
const resource = 'https://orders.example.com';
const scope = 'orders:read orders:write';
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const lifetimes = { AccessToken: 900, ClientCredentials: 900, Grant: 86400, IdToken: 900, RefreshToken: 86400 };

const server = createServer();
await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
const origin = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(origin, {
  clients: [{
    client_id: 'shop', client_secret: secret, redirect_uris: ['https://shop.example.com/back'],
    grant_types: ['client_credentials', 'authorization_code', 'refresh_token'], scope: `openid offline_access ${scope}`,
    token_endpoint_auth_method: 'client_secret_basic', id_token_signed_response_alg: 'ES256',
  }],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256', use: 'sig' }] },
  cookies: { keys: [secret] },
  scopes: ['openid', 'offline_access', ...scope.split(' ')],
  ttl: lifetimes,
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope, audience: resource, accessTokenTTL: lifetimes.AccessToken, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});
server.on('request', provider.callback());

const client = await provider.Client.find('shop');
const credentials = [];
for (let i = 0; i < Number(values.seats); i += 1) {
  const grant = new provider.Grant({ accountId: `u${i}`, clientId: 'shop' });
  grant.addResourceScope(resource, scope);
  const grantId = await grant.save();
  const token = new provider.RefreshToken({
    client, accountId: `u${i}`, grantId, gty: 'authorization_code', scope, resource, authTime: Math.floor(Date.now() / 1000),
  });
  credentials.push({ id: 'shop', secret, refresh_token: await token.save() });
}

console.log(JSON.stringify({
  url: origin, token_path: '/token', refresh_path: '/token', credentials, scope,
  public_key: publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
}));
// Whoever started it is gone when standard input ends.
createInterface({ input: process.stdin }).on('close', () => process.exit(0));
