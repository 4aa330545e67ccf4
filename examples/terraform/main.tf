# An orders API (REST) of another team, behind Latchkey's authorizer, in front of a server.
#
# Latchkey's stack, of this account or another, has to let this API ask: its parameter AuthorizerSourceArns has the output
# authorizer_source_arn. Its rules are those of ../routes.yaml.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "authorizer_arn" {
  description = "Output AuthorizerFunctionArn of Latchkey's stack, in the same Region"
  type        = string
}

variable "upstream_url" {
  description = "The server, which must let in nobody but this API: an https URL without a slash at the end"
  type        = string
  validation {
    condition     = can(regex("^https://[!-~]*[^/]$", var.upstream_url))
    error_message = "It must be an https URL without a slash at the end."
  }
}

variable "cors_origin" {
  description = "The origin whose pages may call the API"
  type        = string
  default     = "*"
}

data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  # method and path of each route, as ../routes.yaml has them
  routes = {
    list   = { method = "GET", path = "/orders", resource = aws_api_gateway_resource.orders.id, variables = [] }
    create = { method = "POST", path = "/orders", resource = aws_api_gateway_resource.orders.id, variables = [] }
    read   = { method = "GET", path = "/orders/{id}", resource = aws_api_gateway_resource.order.id, variables = ["id"] }
  }
  outage = {
    status = "503"
    header = { "gatewayresponse.header.Retry-After" = "'2'" }
    body = {
      error             = "temporarily_unavailable"
      error_description = "The access token could not be judged. The fault is not in the request."
    }
  }
  # What API Gateway answers by itself. Header values are static, in quotes of their own.
  denials = {
    UNAUTHORIZED = {
      status = "401"
      header = { "gatewayresponse.header.WWW-Authenticate" = "'Bearer realm=\"latchkey\"'" }
      body = {
        error             = "invalid_token"
        error_description = "There is no access token, or it has ended, was revoked or is not good for this API."
      }
    }
    ACCESS_DENIED = {
      status = "403"
      header = { "gatewayresponse.header.WWW-Authenticate" = "'Bearer realm=\"latchkey\", error=\"insufficient_scope\"'" }
      body = {
        error             = "insufficient_scope"
        error_description = "The access token is good, and its scope does not cover this request."
      }
    }
    AUTHORIZER_FAILURE             = local.outage
    AUTHORIZER_CONFIGURATION_ERROR = local.outage
  }
}

resource "aws_api_gateway_rest_api" "orders" {
  name = "orders"
  endpoint_configuration {
    types = ["REGIONAL"]
  }
}

resource "aws_api_gateway_authorizer" "latchkey" {
  name        = "latchkey"
  rest_api_id = aws_api_gateway_rest_api.orders.id
  type        = "REQUEST"
  # With a rule for /orders/{id} the answer is about one request: the cache must be keyed on it.
  identity_source                  = "method.request.header.Authorization, context.httpMethod, context.path"
  authorizer_uri                   = "arn:${data.aws_partition.current.partition}:apigateway:${data.aws_region.current.name}:lambda:path/2015-03-31/functions/${var.authorizer_arn}/invocations"
  authorizer_result_ttl_in_seconds = 10
}

resource "aws_api_gateway_resource" "orders" {
  rest_api_id = aws_api_gateway_rest_api.orders.id
  parent_id   = aws_api_gateway_rest_api.orders.root_resource_id
  path_part   = "orders"
}

resource "aws_api_gateway_resource" "order" {
  rest_api_id = aws_api_gateway_rest_api.orders.id
  parent_id   = aws_api_gateway_resource.orders.id
  path_part   = "{id}"
}

resource "aws_api_gateway_method" "route" {
  for_each           = local.routes
  rest_api_id        = aws_api_gateway_rest_api.orders.id
  resource_id        = each.value.resource
  http_method        = each.value.method
  authorization      = "CUSTOM"
  authorizer_id      = aws_api_gateway_authorizer.latchkey.id
  request_parameters = { for name in each.value.variables : "method.request.path.${name}" => true }
}

resource "aws_api_gateway_integration" "route" {
  for_each                = local.routes
  rest_api_id             = aws_api_gateway_rest_api.orders.id
  resource_id             = each.value.resource
  http_method             = aws_api_gateway_method.route[each.key].http_method
  type                    = "HTTP_PROXY"
  integration_http_method = each.value.method
  uri                     = "${var.upstream_url}${each.value.path}"
  # The headers are set whatever the caller sends under these names.
  request_parameters = merge(
    { for name in each.value.variables : "integration.request.path.${name}" => "method.request.path.${name}" },
    {
      "integration.request.header.X-Latchkey-Client-Id" = "context.authorizer.client_id"
      "integration.request.header.X-Latchkey-Sub"       = "context.authorizer.sub"
      "integration.request.header.X-Latchkey-Scope"     = "context.authorizer.scope"
      "integration.request.header.X-Latchkey-Grant-Id"  = "context.authorizer.grant_id"
      "integration.request.header.X-Latchkey-Jti"       = "context.authorizer.jti"
      "integration.request.header.X-Latchkey-Exp"       = "context.authorizer.exp"
    },
  )
}

resource "aws_api_gateway_gateway_response" "denial" {
  for_each      = local.denials
  rest_api_id   = aws_api_gateway_rest_api.orders.id
  response_type = each.key
  status_code   = each.value.status
  response_parameters = merge(each.value.header, {
    "gatewayresponse.header.Access-Control-Allow-Origin"   = "'${var.cors_origin}'"
    "gatewayresponse.header.Access-Control-Expose-Headers" = "'WWW-Authenticate,Retry-After'"
    "gatewayresponse.header.Cache-Control"                 = "'no-store'"
  })
  response_templates = { "application/json" = jsonencode(each.value.body) }
}

# A deployment is a snapshot: a change of this file makes another one.
resource "aws_api_gateway_deployment" "orders" {
  rest_api_id = aws_api_gateway_rest_api.orders.id
  triggers    = { definition = filesha1("${path.module}/main.tf") }
  depends_on = [
    aws_api_gateway_integration.route,
    aws_api_gateway_gateway_response.denial,
  ]
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_stage" "prod" {
  rest_api_id   = aws_api_gateway_rest_api.orders.id
  deployment_id = aws_api_gateway_deployment.orders.id
  stage_name    = "prod"
}

output "url" {
  description = "The orders"
  value       = "${aws_api_gateway_stage.prod.invoke_url}/orders"
}

output "authorizer_source_arn" {
  description = "For AuthorizerSourceArns of Latchkey's stack"
  value       = "${aws_api_gateway_rest_api.orders.execution_arn}/authorizers/${aws_api_gateway_authorizer.latchkey.id}"
}
